/**
 * Uids for VMMs, one each, where the daemon is root. The range is far above what distributions and container tools
 * give out (subordinate ids end below 700,000,000 on the systems we know).
 */
const FIRST_UID = 900_000_000;

export class UidPool {
  private readonly taken = new Set<number>();
  private readonly isRoot: boolean;

  constructor(isRoot: boolean = process.getuid?.() === 0) {
    this.isRoot = isRoot;
  }

  /** The lowest free uid; `undefined` where we are not root and cannot take on another. */
  acquire(): number | undefined {
    if (!this.isRoot) return undefined;
    let uid = FIRST_UID;
    while (this.taken.has(uid)) uid++;
    this.taken.add(uid);
    return uid;
  }

  /** Marks a uid that an adopted VMM has. */
  claim(uid: number | undefined): void {
    if (uid !== undefined) this.taken.add(uid);
  }

  release(uid: number | undefined): void {
    if (uid !== undefined) this.taken.delete(uid);
  }
}
