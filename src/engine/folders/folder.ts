import { initAnswer, type Owner } from "./answers.ts";
import {
  fsyncDirectory,
  fsyncFile,
  getattr,
  open,
  readFile,
  setattr,
  statfs,
  writeFile,
} from "./file-operations.ts";
import { Errno, FuseError, type FuseRequest, Opcode } from "./fuse-protocol.ts";
import { Handles } from "./handles.ts";
import { Inside } from "./inside.ts";
import { Journal } from "./journal.ts";
import { Listings, page } from "./listing.ts";
import { pageWithEntries } from "./listing-entries.ts";
import {
  create,
  link,
  lookup,
  mkdir,
  mknod,
  readlink,
  rename,
  rmdir,
  symlink,
  unlink,
} from "./name-operations.ts";
import { Nodes } from "./nodes.ts";
import { Quota } from "./quota.ts";
import { RequestBody } from "./request-body.ts";
import type { FolderState } from "./state.ts";

export interface FolderOptions {
  /** The folder on the host. */
  source: string;
  readOnly: boolean;
  /** As whose the guest sees all files. */
  owner: Owner;
  /** How much the guest may write; Infinity: as much as the host takes. */
  quotaBytes: number;
  /** Where is kept what a later daemon must know. */
  journal: string;
}

/** The body of an answer; a promise only where the disk may take its time. */
export type FolderResult = Buffer | undefined | Promise<Buffer | undefined>;

/** A folder of the host as a guest's kernel sees it: takes requests, does them, gives the answers' bodies. */
export class Folder {
  readonly #state: FolderState;
  readonly #journal: Journal;
  readonly #listings = new Listings();
  readonly #nodes: Nodes;
  #closed = false;

  /** @throws SandboxError if the source is not there, no folder, or cannot be opened */
  constructor(options: FolderOptions) {
    const inside = new Inside(options.source);
    try {
      const journal = new Journal(options.journal);
      const nodes = new Nodes(journal);
      this.#journal = journal;
      this.#nodes = nodes;
      const quota = new Quota(options.quotaBytes, journal.restore(nodes), (bytes) => journal.written(bytes));
      const { owner, readOnly } = options;
      this.#state = { inside, nodes, handles: new Handles(nodes), owner, readOnly, quota };
    } catch (error) {
      inside.close();
      throw error;
    }
  }

  /**
   * Does what the guest asks for.
   * @throws FuseError, or an error of the host's file system
   */
  do(request: FuseRequest): FolderResult {
    // Its descriptors' numbers may be other files' by now.
    if (this.#closed) throw new FuseError(Errno.EIO);
    const body = new RequestBody(request.body);
    const state = this.#state;
    // Whatever is asked: looking up and forgetting makes it grow as well as writing.
    this.#journal.compactIfLarge(this.#nodes, state.quota.written);
    const { opcode, repeated } = request;
    switch (opcode) {
      case Opcode.init:
        return init(body);
      case Opcode.destroy:
        return;
      case Opcode.forget:
        return this.#forget(request.node, body.u64());
      case Opcode.batchForget:
        return this.#forgetMany(body);
      case Opcode.statfs:
        return statfs(state);
      case Opcode.release:
        state.handles.release(body.u64());
        return;
      case Opcode.releasedir:
        return this.#listings.release(state, body.u64());
    }
    const node = this.#nodes.get(request.node);
    switch (opcode) {
      case Opcode.lookup:
        return lookup(state, node, body);
      case Opcode.getattr:
        return getattr(state, node);
      case Opcode.setattr:
        return setattr(state, node, body);
      case Opcode.readlink:
        return readlink(state, node);
      case Opcode.symlink:
        return symlink(state, node, body, repeated);
      case Opcode.mknod:
        return mknod(state, node, body, repeated);
      case Opcode.mkdir:
        return mkdir(state, node, body, repeated);
      case Opcode.unlink:
        return unlink(state, node, body, repeated);
      case Opcode.rmdir:
        return rmdir(state, node, body, repeated);
      case Opcode.rename:
        return rename(state, node, body, repeated, false);
      case Opcode.rename2:
        return rename(state, node, body, repeated, true);
      case Opcode.link:
        return link(state, node, body, repeated);
      case Opcode.open:
        return open(state, node, body);
      case Opcode.create:
        return create(state, node, body, repeated);
      case Opcode.read:
        return readFile(state, node, body);
      case Opcode.write:
        return writeFile(state, node, body);
      case Opcode.fsync:
        return fsyncFile(state, node, body);
      case Opcode.opendir:
        return this.#listings.open(state, node);
      case Opcode.readdir:
        return this.#listings.read(state, node, body, page);
      case Opcode.readdirplus:
        return this.#listings.read(state, node, body, pageWithEntries);
      case Opcode.fsyncdir:
        return fsyncDirectory(state, node);
      default:
        // Extended attributes, locks, holes and the rest: the kernel does without, and asks no more.
        throw new FuseError(Errno.ENOSYS);
    }
  }

  /** Lets go of everything; a later daemon may go on. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#state.handles.closeAll();
    this.#state.inside.close();
    this.#journal.close();
  }

  #forget(id: number, lookups: number): undefined {
    const node = this.#nodes.find(id);
    if (node !== undefined && node !== this.#nodes.root) this.#nodes.forget(node, lookups);
  }

  #forgetMany(body: RequestBody): undefined {
    const count = body.u32();
    body.skip(4);
    for (let i = 0; i < count; i++) this.#forget(body.u64(), body.u64());
  }
}

function init(body: RequestBody): Buffer {
  const major = body.u32();
  const minor = body.u32();
  const readAhead = body.u32();
  const flags = body.u32();
  // Linux 5.4 and later.
  if (major !== 7 || minor < 31) throw new FuseError(Errno.EINVAL);
  return initAnswer(minor, flags, readAhead);
}
