/** Time as the terminator sees it, so that tests can move it by hand. */
export interface Clock {
  /** Milliseconds from any beginning; never goes back. */
  now(): number;
  /** Calls once, after about `ms` milliseconds, unless the function that is returned was called before. */
  after(ms: number, callback: () => void): () => void;
}

/** A timer that waits keeps no process alive: the link does. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms).unref();
    return () => clearTimeout(timer);
  },
};
