import type {
  FileEntry,
  FileOperation,
  FileResult,
  ListFilesRequest,
  ReadFileRequest,
  WriteFileRequest,
} from "../../../contract/index.ts";
import type { SandboxFiles } from "../../engine.ts";
import type { GuestProcess, ProcessSpec } from "../../guest/index.ts";
import { FilesProcess } from "./files-process.ts";
import { pathBytes } from "./path-bytes.ts";
import { readPath, readStat, readUsage, timeOf } from "./stat.ts";
import { listFiles, readFile, writeFile } from "./transfer.ts";

type Start = (spec: ProcessSpec) => Promise<GuestProcess>;
const PROCESS: ProcessSpec = { argv: ["files"], builtin: "files", stdin: true };

/** The files of one sandbox. The process that serves them is started when it is first needed, and again when it has ended. */
export class GuestFiles implements SandboxFiles {
  readonly #name: string;
  readonly #start: Start;
  #current: FilesProcess | undefined;
  /** Several may want it at once. */
  #starting: Promise<FilesProcess> | undefined;

  /** @param start starts a process of the sandbox; it throws `invalid_state` if the sandbox does not run */
  constructor(name: string, start: Start) {
    this.#name = name;
    this.#start = start;
  }

  async read(request: ReadFileRequest, signal?: AbortSignal): Promise<AsyncGenerator<Buffer>> {
    return readFile(await this.#serving(), request, signal);
  }

  async write(request: WriteFileRequest, body: AsyncIterable<Uint8Array>): Promise<number> {
    return writeFile(await this.#serving(), request, body);
  }

  async list(request: ListFilesRequest): Promise<AsyncGenerator<FileEntry[]>> {
    return listFiles(await this.#serving(), request);
  }

  async operate(operation: FileOperation): Promise<FileResult> {
    const files = await this.#serving();
    const { op } = operation;
    const reply = await files.request(messageOf(operation));
    if (op === "stat" || op === "lstat") return { stat: readStat(reply) };
    if (op === "readlink") return { target: readPath(reply, "target") };
    return op === "usage" ? { usage: readUsage(reply) } : {};
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

function messageOf(operation: FileOperation): { op: string } & Record<string, unknown> {
  const bytes: Record<string, unknown> = { path: pathBytes(operation.path) };
  if ("to" in operation) bytes.to = pathBytes(operation.to);
  if ("target" in operation) bytes.target = pathBytes(operation.target);
  if (operation.op !== "utimes") return { ...operation, ...bytes };
  const { mtimeMs, atimeMs, ...rest } = operation;
  return { ...rest, ...bytes, mtime: timeOf(mtimeMs), atime: timeOf(atimeMs) };
}
