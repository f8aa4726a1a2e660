import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../main.ts", import.meta.url));

export interface Finished {
  code: number | null;
  stdout: string;
  stderr: string;
  stdoutBytes: Buffer;
}

/** `msb` as a process of its own, as people use it. */
export class Msb {
  readonly child: ChildProcessWithoutNullStreams;
  readonly finished: Promise<Finished>;
  stdout = "";
  stderr = "";
  #changed = () => {};

  constructor(env: NodeJS.ProcessEnv, args: readonly string[]) {
    this.child = spawn(process.execPath, [MAIN, ...args], { env, stdio: "pipe" });
    this.child.stdin.on("error", () => {});
    const chunks: Buffer[] = [];
    this.child.stdout.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      if (this.stdout.length < 100_000) this.stdout += chunk;
      this.#changed();
    });
    this.child.stderr.on("data", (chunk: Buffer) => {
      this.stderr += chunk;
      this.#changed();
    });
    this.finished = once(this.child, "close").then(([code]) => ({
      code: code as number | null,
      stdout: Buffer.concat(chunks).toString(),
      stderr: this.stderr,
      stdoutBytes: Buffer.concat(chunks),
    }));
  }

  /** Waits until it has written something to stdout or stderr. */
  async wrote(text: string): Promise<void> {
    while (!this.stdout.includes(text) && !this.stderr.includes(text)) {
      const end = await Promise.race([
        new Promise<undefined>((resolve) => {
          this.#changed = () => resolve(undefined);
        }),
        this.finished,
      ]);
      if (end && !this.stdout.includes(text) && !this.stderr.includes(text)) {
        throw new Error(`it ended with ${end.code} without "${text}": ${end.stdout} ${end.stderr}`);
      }
    }
  }
}
