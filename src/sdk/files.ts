import { PassThrough, Readable, Writable } from "node:stream";
import { SandboxError } from "../contract/errors.ts";
import type {
  DiskUsage,
  ExtractFilesRequest,
  FileEntry,
  FileOperationInput,
  FileResult,
  FileStat,
  ListFilesRequest,
  PackFilesRequest,
  ReadFileRequest,
  WriteFileRequest,
} from "../contract/index.ts";
import type { Connection } from "./connection.ts";
import type { CopyOptions } from "./copy/copy.ts";
import type { CopyProgress, Unpacked } from "./copy/unpack.ts";
import { FileChanges, type WatchFilesOptions } from "./file-changes.ts";
import { pathText } from "./file-path.ts";
import { jsonLines } from "./json-lines.ts";
import { type CallOptions, QUICK_MS } from "./options.ts";
import { downloadTar } from "./tar-download.ts";

/** An absolute path in the sandbox: text, or bytes for a name that is no UTF-8. */
export type FilePath = string | Uint8Array;

export interface FileCallOptions extends Omit<CallOptions, "connection"> {
  /** Act as this user: `name`, `uid`, `name:group` or `uid:gid`. Default: root. */
  user?: string | undefined;
}
export type ReadFileOptions = FileCallOptions & Omit<ReadFileRequest, "path" | "user">;
export type WriteFileOptions = FileCallOptions & Omit<WriteFileRequest, "path" | "user">;
export type ListFilesOptions = FileCallOptions & Omit<ListFilesRequest, "path" | "user">;
export type ArchiveOptions = Omit<CallOptions, "connection"> & Omit<PackFilesRequest, "path">;
export type ExtractOptions = Omit<CallOptions, "connection"> & Omit<ExtractFilesRequest, "path">;
type OptionsOf<Op extends FileOperationInput["op"]> = FileCallOptions &
  Omit<Extract<FileOperationInput, { op: Op }>, "op" | "path" | "user" | "to" | "target" | "owner">;

/**
 * The files of a running sandbox. Deadlines: 60 s for what looks something up; none for what moves or walks.
 *
 * @throws SandboxError `not_found`, `already_exists`, `permission_denied`, `resource_exhausted`, …; the message names the path
 */
export class Files {
  readonly #connection: Connection;
  readonly #url: string;

  /** @internal */
  constructor(connection: Connection, url: string) {
    this.#connection = connection;
    this.#url = url;
  }

  /** A file's bytes, all in memory. */
  async read(path: FilePath, options: ReadFileOptions = {}): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for await (const piece of await this.readStream(path, options)) pieces.push(piece as Buffer);
    return Buffer.concat(pieces);
  }

  /** A file's text. */
  async readText(path: FilePath, options: ReadFileOptions = {}): Promise<string> {
    return (await this.read(path, options)).toString("utf8");
  }

  /** A file's bytes as they are read. The stream fails if they do not come to their end. */
  readStream(path: FilePath, options: ReadFileOptions = {}): Promise<Readable> {
    const { signal, deadlineMs, ...query } = options;
    const text = pathText(path);
    return downloadTar(this.#connection, {
      method: "GET",
      path: `${this.#url}/content`,
      query: { path: text, ...query },
      signal,
      deadlineMs,
      purpose: `read ${text}`,
    });
  }

  /**
   * Writes a file: anew, unless `offset` says where, or `append`.
   * @returns how many bytes were written
   */
  async write(
    path: FilePath,
    data: string | Uint8Array | Readable | AsyncIterable<Uint8Array>,
    options: WriteFileOptions = {},
  ): Promise<number> {
    const { signal, deadlineMs, mode, ...query } = options;
    const text = pathText(path);
    const result = await this.#connection.json<{ bytes: number }>({
      method: "PUT",
      path: `${this.#url}/content`,
      query: { path: text, ...query, mode: mode?.toString(8) },
      upload: uploadOf(typeof data === "string" ? Buffer.from(data) : data),
      headers: { "content-type": "application/octet-stream" },
      signal,
      deadlineMs,
      purpose: `write ${text}`,
    });
    return result.bytes;
  }

  /** A stream to write a file with. `finish` comes when all of it is in place; what goes wrong is the stream's error. */
  writeStream(path: FilePath, options: WriteFileOptions = {}): Writable {
    return new UploadStream((body) => this.write(path, body, options));
  }

  /** Adds to the end of a file, and makes it if it is missing. */
  append(
    path: FilePath,
    data: string | Uint8Array | Readable,
    options: Omit<WriteFileOptions, "offset" | "append" | "atomic"> = {},
  ): Promise<number> {
    return this.write(path, data, { ...options, append: true });
  }

  /**
   * Copies a file or a folder of this machine into the sandbox, as `msb cp` does: into a folder that is there, or under the name
   * that is given; `from/.` means what is in a folder. What is copied is root's. Deadline: none.
   *
   * @throws SandboxError also `not_found` for a source that is not there, `unavailable` if this machine has no `tar` program
   */
  async upload(from: string, to: string, options: CopyOptions = {}): Promise<CopyProgress> {
    return (await import("./copy/copy.ts")).copyIn(this, from, to, options);
  }

  /**
   * Copies a file or a folder of the sandbox to this machine, by the rules of `upload`. What is in the sandbox may be hostile: nothing
   * outside of the destination is touched, no link is followed, and setuid, setgid, devices and FIFOs do not come along. Deadline: none.
   *
   * @returns what was copied, and what was left out
   */
  async download(from: string, to: string, options: CopyOptions = {}): Promise<Unpacked> {
    return (await import("./copy/copy.ts")).copyOut(this, from, to, options);
  }

  /** What is in a folder, in its own order, with paths relative to it. Memory stays bounded however much it is. */
  async *list(path: FilePath, options: ListFilesOptions = {}): AsyncGenerator<FileEntry> {
    const { signal, deadlineMs = QUICK_MS, ...query } = options;
    const text = pathText(path);
    const response = await this.#connection.stream({
      method: "GET",
      path: this.#url,
      query: { path: text, ...query },
      signal,
      deadlineMs,
      purpose: `list ${text}`,
    });
    try {
      for await (const line of jsonLines<FileEntry & { error?: object }>(response)) {
        if (line.error !== undefined) throw SandboxError.fromBody(line.error);
        yield line;
      }
    } finally {
      response.destroy();
    }
  }

  /**
   * A file or a folder as a tar (PAX, files with holes as GNU's sparse format 1.0). The names begin with the last of the path; with a
   * path that ends in `/.`, and for `/`, with `.`: `/a/b` gives `b` and `b/x`, `/a/b/.` gives `.` and `./x`. Left out are sockets and
   * what the kernel makes up (`/proc`, `/sys`). The stream fails if it does not come to its end.
   */
  archive(path: FilePath, options: ArchiveOptions = {}): Promise<Readable> {
    const { signal, deadlineMs, ...query } = options;
    const text = pathText(path);
    return downloadTar(this.#connection, {
      method: "GET",
      path: this.#archiveUrl,
      query: { path: text, ...query },
      signal,
      deadlineMs,
      purpose: `read ${text}`,
    });
  }

  /**
   * Puts what a tar holds into a folder that is there. A file takes the place of a file or a link; a folder that is there is added to,
   * and keeps its mode and owner. Nothing is put outside the folder, through a link neither. What was put there before an error stays.
   *
   * @param tar not compressed
   * @throws `already_exists` for a file in the place of a folder or the other way round, `invalid_argument` for what is no tar or leads
   * out of the folder
   */
  async extract(
    folder: FilePath,
    tar: Uint8Array | Readable | AsyncIterable<Uint8Array>,
    options: ExtractOptions = {},
  ): Promise<void> {
    const { signal, deadlineMs, ...query } = options;
    const text = pathText(folder);
    await this.#connection.json({
      method: "PUT",
      path: this.#archiveUrl,
      query: { path: text, ...query },
      upload: uploadOf(tar),
      headers: { "content-type": "application/x-tar" },
      signal,
      deadlineMs,
      purpose: `write into ${text}`,
    });
  }

  get #archiveUrl(): string {
    return this.#url.replace(/files$/, "archive");
  }

  /** What a path leads to. */
  async stat(path: FilePath, options: FileCallOptions = {}): Promise<FileStat> {
    return (await this.#operate({ op: "stat", path: pathText(path) }, options, QUICK_MS)).stat!;
  }

  /** As `stat`, of a link itself. */
  async lstat(path: FilePath, options: FileCallOptions = {}): Promise<FileStat> {
    return (await this.#operate({ op: "lstat", path: pathText(path) }, options, QUICK_MS)).stat!;
  }

  /** Whether a path leads to something. */
  async exists(path: FilePath, options: FileCallOptions = {}): Promise<boolean> {
    try {
      await this.stat(path, options);
      return true;
    } catch (error) {
      if (error instanceof SandboxError && error.code === "not_found") return false;
      throw error;
    }
  }

  /** Makes a folder; with `parents` also those above it, and then one that is there is no error. */
  async mkdir(path: FilePath, options: OptionsOf<"mkdir"> = {}): Promise<void> {
    await this.#operate({ op: "mkdir", path: pathText(path) }, options, QUICK_MS);
  }

  /** Removes a file, a link or an empty folder; with `recursive` a folder with all that is in it. */
  async remove(path: FilePath, options: OptionsOf<"remove"> = {}): Promise<void> {
    await this.#operate({ op: "remove", path: pathText(path) }, options);
  }

  /** Gives a file another name; one that has it is replaced, as rename(2) does. */
  async rename(path: FilePath, to: FilePath, options: FileCallOptions = {}): Promise<void> {
    await this.#operate({ op: "rename", path: pathText(path), to: pathText(to) }, options, QUICK_MS);
  }

  /** Copies a file, a link or, with `recursive`, a folder inside the sandbox. */
  async copy(path: FilePath, to: FilePath, options: OptionsOf<"copy"> = {}): Promise<void> {
    await this.#operate({ op: "copy", path: pathText(path), to: pathText(to) }, options);
  }

  /** Makes a link at `path` that leads to `target`. */
  async symlink(target: FilePath, path: FilePath, options: FileCallOptions = {}): Promise<void> {
    await this.#operate({ op: "symlink", path: pathText(path), target: pathText(target) }, options, QUICK_MS);
  }

  /** Where a link leads; see `pathBytes` for one that is no UTF-8. */
  async readlink(path: FilePath, options: FileCallOptions = {}): Promise<string> {
    return (await this.#operate({ op: "readlink", path: pathText(path) }, options, QUICK_MS)).target!;
  }

  async chmod(
    path: FilePath,
    mode: number,
    options: FileCallOptions & { recursive?: boolean | undefined } = {},
  ): Promise<void> {
    await this.#operate({ op: "chmod", path: pathText(path), mode }, options);
  }

  /** @param owner `user`, `user:group` or `:group`: names of the sandbox, or numbers */
  async chown(path: FilePath, owner: string, options: OptionsOf<"chown"> = {}): Promise<void> {
    await this.#operate({ op: "chown", path: pathText(path), owner }, options);
  }

  /** Sets the times that are given, in milliseconds of Unix time; fractions count. */
  async utimes(path: FilePath, options: OptionsOf<"utimes">): Promise<void> {
    await this.#operate({ op: "utimes", path: pathText(path) }, options, QUICK_MS);
  }

  /** Cuts a file to a size, or makes it longer with a hole. */
  async truncate(path: FilePath, size = 0, options: FileCallOptions = {}): Promise<void> {
    await this.#operate({ op: "truncate", path: pathText(path), size }, options, QUICK_MS);
  }

  /** What a file or a folder with all that is in it takes; other file systems are left out. */
  async diskUsage(path: FilePath, options: FileCallOptions = {}): Promise<DiskUsage> {
    return (await this.#operate({ op: "usage", path: pathText(path) }, options)).usage!;
  }

  /**
   * Tells of changes of a folder or a file. When it has resolved, everything is in place: what happens afterwards is told.
   *
   * @example
   * for await (const { type, path } of await files.watch("/srv", { recursive: true, exclude: ["node_modules"] })) console.log(type, path);
   */
  watch(path: FilePath, options: WatchFilesOptions = {}): Promise<FileChanges> {
    return FileChanges.begin(this.#connection, this.#url, pathText(path), options);
  }

  #operate(
    operation: FileOperationInput,
    { signal, deadlineMs, ...rest }: FileCallOptions,
    defaultDeadlineMs?: number,
  ): Promise<FileResult> {
    return this.#connection.json<FileResult>({
      method: "POST",
      path: this.#url,
      body: { ...rest, ...operation },
      signal,
      deadlineMs: deadlineMs ?? defaultDeadlineMs,
      purpose: `${operation.op} ${operation.path}`,
    });
  }
}

function uploadOf(bytes: Uint8Array | Readable | AsyncIterable<Uint8Array>): Readable {
  if (bytes instanceof Readable) return bytes;
  const pieces = bytes instanceof Uint8Array ? (bytes.length === 0 ? [] : [bytes]) : bytes;
  return Readable.from(pieces, { objectMode: false });
}

/** Takes bytes for a request that runs as long as they come. */
class UploadStream extends Writable {
  readonly #body = new PassThrough({ highWaterMark: 256 * 1024 });
  readonly #sent: Promise<unknown>;

  constructor(send: (body: Readable) => Promise<unknown>) {
    super({ highWaterMark: 256 * 1024 });
    this.#sent = send(this.#body);
    this.#sent.catch((error) => this.destroy(error));
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (this.#body.write(chunk)) done();
    else this.#body.once("drain", () => done());
  }

  override _final(done: (error?: Error) => void): void {
    this.#body.end();
    this.#sent.then(() => done(), done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // Half of it must not look like the whole.
    if (!this.#body.writableEnded)
      this.#body.destroy(error ?? new SandboxError("cancelled", "the stream was closed early"));
    done(error);
  }
}
