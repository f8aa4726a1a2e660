/**
 * Numbers of the process streams. They stand apart from `stream.ts` because clients need them at run time and
 * must not load zod for them: that would cost a command-line client more than its request.
 */

/** First byte of a binary frame: whose bytes follow. */
export const STREAM_STDIN = 0;
export const STREAM_STDOUT = 1;
export const STREAM_STDERR = 2;

/** Largest binary frame that either side accepts, its first byte included. */
export const MAX_STREAM_FRAME = 1024 * 1024;

/**
 * Bytes of stdin that a client may send ahead of the process. More only after a `stdin_window` message: a process that does
 * not read must not hold up the signals behind its input, which pausing the socket alone would do.
 */
export const STDIN_WINDOW = 512 * 1024;
