import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { buildGoProgram, type GoProgram } from "../../test/go-program.ts";

/** Traffic as `net-load` makes it: the program that runs in guests, and its peer on the host's loopback. */

export type LoadKind = "send" | "receive" | "request" | "echo";

/** What a guest measured of one load. */
export interface LoadResult {
  seconds: number;
  /** Bytes that arrived. */
  bytes?: number;
  /** How long each question took. */
  milliseconds?: number[];
}

export function readLoadResult(stdout: string): LoadResult {
  try {
    return JSON.parse(stdout) as LoadResult;
  } catch {
    throw new Error(`net-load said: ${stdout}`);
  }
}

export class LoadPeer implements AsyncDisposable {
  /** The static binary, which guests run too. */
  readonly program: string;
  /** Of 127.0.0.1. */
  readonly port: number;
  readonly #build: GoProgram;
  readonly #process: ChildProcess;

  private constructor(build: GoProgram, process: ChildProcess, port: number) {
    this.program = build.path;
    this.port = port;
    this.#build = build;
    this.#process = process;
  }

  static async start(): Promise<LoadPeer> {
    const build = await buildGoProgram("net-load", new URL("../", import.meta.url).href);
    const process = spawn(build.path, ["serve"], { stdio: ["pipe", "pipe", "inherit"], detached: true });
    const [line] = await once(createInterface(process.stdout), "line");
    return new LoadPeer(build, process, Number(line));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = once(this.#process, "exit");
    this.#process.stdin?.end();
    await gone;
    await this.#build[Symbol.asyncDispose]();
  }
}
