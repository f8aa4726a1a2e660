import type {
  ExtractFilesRequest,
  FileChange,
  FileEntry,
  FileOperation,
  FileResult,
  ListFilesRequest,
  PackFilesRequest,
  ReadFileRequest,
  WatchFilesRequest,
  WriteFileRequest,
} from "../../../contract/index.ts";
import type { SandboxFiles } from "../../engine.ts";
import type { ProcessSpec } from "../../guest/index.ts";
import type { Vigil } from "../vigil.ts";
import { extractFiles, packFiles, type Start } from "./archive.ts";
import { FilesProcess } from "./files-process.ts";
import { pathBytes } from "./path-bytes.ts";
import { readPath, readStat, readUsage, timeOf } from "./stat.ts";
import { listFiles, readFile, writeFile } from "./transfer.ts";
import { watchFiles } from "./watch.ts";

const PROCESS: ProcessSpec = { argv: ["files"], builtin: "files", stdin: true };

/** The files of one sandbox. The process that serves them is started when it is first needed, and again when it has ended. */
export class GuestFiles implements SandboxFiles {
  readonly #name: string;
  readonly #vigil: Pick<Vigil, "busy" | "reading">;
  readonly #start: Start;
  #current: FilesProcess | undefined;
  /** Several may want it at once. */
  #starting: Promise<FilesProcess> | undefined;

  /**
   * @param vigil hears that the sandbox is used
   * @param start starts a process of the sandbox; it throws `invalid_state` if the sandbox does not run
   */
  constructor(name: string, vigil: Pick<Vigil, "busy" | "reading">, start: Start) {
    this.#name = name;
    this.#vigil = vigil;
    this.#start = start;
  }

  async read(request: ReadFileRequest, signal?: AbortSignal): Promise<AsyncGenerator<Buffer>> {
    const bytes = await this.#use((files) => readFile(files, request, signal));
    return this.#vigil.reading(bytes);
  }

  write(request: WriteFileRequest, body: AsyncIterable<Uint8Array>): Promise<number> {
    return this.#use((files) => writeFile(files, request, body));
  }

  async list(request: ListFilesRequest): Promise<AsyncGenerator<FileEntry[]>> {
    const pages = await this.#use((files) => listFiles(files, request));
    return this.#vigil.reading(pages);
  }

  operate(operation: FileOperation): Promise<FileResult> {
    return this.#use((files) => operate(files, operation));
  }

  /** Ends the process that serves them, with what is under way. It is started anew when it is needed. */
  release(): void {
    this.#current?.release();
  }

  async pack(request: PackFilesRequest, signal?: AbortSignal): Promise<AsyncGenerator<Buffer>> {
    return this.#vigil.reading(await packFiles(this.#start, this.#name, request, signal));
  }

  async extract(
    request: ExtractFilesRequest,
    tar: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<void> {
    const done = this.#vigil.busy();
    try {
      await extractFiles(this.#start, this.#name, request, tar, signal);
    } finally {
      done();
    }
  }

  /** A sandbox whose files are watched is used, and so not idle. */
  async watch(request: WatchFilesRequest, signal?: AbortSignal): Promise<AsyncGenerator<FileChange[]>> {
    const done = this.#vigil.busy();
    try {
      return this.#vigil.reading(await watchFiles(this.#start, this.#name, request, signal));
    } finally {
      done();
    }
  }

  async #use<T>(use: (files: FilesProcess) => Promise<T>): Promise<T> {
    const done = this.#vigil.busy();
    try {
      return await use(await this.#serving());
    } finally {
      done();
    }
  }

  async #serving(): Promise<FilesProcess> {
    if (this.#current !== undefined && this.#current.ended === undefined) return this.#current;
    this.#starting ??= this.#start(PROCESS)
      .then((guest) => {
        this.#current = new FilesProcess(guest, this.#name);
        return this.#current;
      })
      .finally(() => {
        this.#starting = undefined;
      });
    return this.#starting;
  }
}

async function operate(files: FilesProcess, operation: FileOperation): Promise<FileResult> {
  const { op } = operation;
  const reply = await files.request(messageOf(operation));
  if (op === "stat" || op === "lstat") return { stat: readStat(reply) };
  if (op === "readlink") return { target: readPath(reply, "target") };
  return op === "usage" ? { usage: readUsage(reply) } : {};
}

function messageOf(operation: FileOperation): { op: string } & Record<string, unknown> {
  const bytes: Record<string, unknown> = { path: pathBytes(operation.path) };
  if ("to" in operation) bytes.to = pathBytes(operation.to);
  if ("target" in operation) bytes.target = pathBytes(operation.target);
  if (operation.op !== "utimes") return { ...operation, ...bytes };
  const { mtimeMs, atimeMs, ...rest } = operation;
  return { ...rest, ...bytes, mtime: timeOf(mtimeMs), atime: timeOf(atimeMs) };
}
