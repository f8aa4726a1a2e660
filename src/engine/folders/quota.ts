import { Errno, FuseError } from "./fuse-protocol.ts";

/** How much may be written until a later daemon is told of it. */
const STEP_BYTES = 1024 * 1024;

/** Bytes that the sandbox has written, of those that it may. What it removes does not come back. */
export class Quota {
  readonly #limitBytes: number;
  readonly #tell: (written: number) => void;
  #written: number;
  #told: number;

  /**
   * @param limitBytes Infinity: as much as the host takes
   * @param written so far, as an earlier daemon knew
   * @param tell keeps for a later daemon what was written; where there is a limit, and not of every byte
   */
  constructor(limitBytes: number, written: number, tell: (written: number) => void) {
    this.#limitBytes = limitBytes;
    this.#written = written;
    this.#told = written;
    this.#tell = tell;
  }

  get written(): number {
    return this.#written;
  }

  get left(): number {
    return this.#limitBytes - this.#written;
  }

  /** @throws FuseError EDQUOT */
  take(bytes: number): void {
    if (bytes > this.left) throw new FuseError(Errno.EDQUOT);
    this.#written += bytes;
    if (this.#limitBytes === Infinity || this.#written - this.#told < STEP_BYTES) return;
    this.#told = this.#written;
    this.#tell(this.#written);
  }
}
