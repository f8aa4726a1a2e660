import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { createReadStream } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { onTestFailed } from "vitest";
import { type Connection, type CreateOptions, connect, Daemon, Image, Sandbox } from "../src/sdk/index.ts";
import { keepTemplates, takeTemplates } from "./kept-templates.ts";

/**
 * The one class through which tests act on real VMs. It has a home and a daemon of its own, knows how to look behind the
 * scenes (processes, files), prints the logs of a test that fails, and leaves nothing when it is closed.
 */

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** Homes of tests: short, since sockets lie below, and where a dropped uid may pass. */
const HOMES = process.env.MSB_TEST_HOMES ?? join(tmpdir(), "msb-test");
export const BASE_IMAGE = "msb/base";
const READY_TIMEOUT_MS = 30_000;

/** No test may ask a registry that it has not started itself. */
const NO_STRANGERS = { registries: { "docker.io": { blocked: true } } };

export interface Ran {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface DriverOptions {
  /** Set for the daemon and for every command, until the driver is closed. */
  env?: NodeJS.ProcessEnv;
  /** Whether it has the base image. Default: true. */
  image?: boolean;
  /** Makes of the home what the test is about, before any daemon sees it. */
  prepare?: (home: string) => unknown;
  /** For a test that is about templates: it begins without any, and leaves none to others. Default: false. */
  ownTemplates?: boolean;
}

export class SandboxDriver implements AsyncDisposable {
  readonly home: string;
  readonly connection: Connection;
  readonly env: NodeJS.ProcessEnv;
  private readonly replaced: NodeJS.ProcessEnv = {};
  private readonly ownTemplates: boolean;

  private constructor(home: string, env: NodeJS.ProcessEnv, ownTemplates: boolean) {
    this.home = home;
    this.ownTemplates = ownTemplates;
    this.env = { ...process.env, ...env, MSB_HOME: home };
    this.connection = connect({ home });
  }

  /**
   * @param name of the home; each test file has its own
   */
  static async open(name: string, options: DriverOptions = {}): Promise<SandboxDriver> {
    const home = join(HOMES, `${name}-${process.pid}`);
    await mkdir(HOMES, { recursive: true, mode: 0o711 });
    await rm(home, { recursive: true, force: true });
    await options.prepare?.(home);
    await mkdir(home, { recursive: true, mode: 0o711 });
    await writeFile(join(home, "images.json"), JSON.stringify(NO_STRANGERS));
    if (!options.ownTemplates) await takeTemplates(HOMES, home);
    const driver = new SandboxDriver(home, options.env ?? {}, options.ownTemplates ?? false);
    // The daemon takes over the environment of whoever starts it.
    for (const [key, value] of Object.entries(options.env ?? {})) {
      driver.replaced[key] = process.env[key];
      process.env[key] = value;
    }
    if (options.image !== false) await driver.importBase();
    return driver;
  }

  /** The tiny image of busybox that `images/build base` makes. */
  async importBase(name = BASE_IMAGE): Promise<void> {
    await this.importImage("base", name);
  }

  /** An image that `images/build` makes, as `msb/` and its name unless told otherwise. */
  async importImage(recipe: string, name = `msb/${recipe}`): Promise<void> {
    const tar = join(ROOT, `build/images/msb-${recipe}.tar`);
    const config = JSON.parse(await readFile(join(ROOT, `build/images/msb-${recipe}.config.json`), "utf8"));
    await Image.import(name, createReadStream(tar), { connection: this.connection, config });
  }

  /** A sandbox of the base image, unless told otherwise. Its console and logs are printed if the test fails. */
  async create(options: Partial<CreateOptions> = {}): Promise<Sandbox> {
    const sandbox = await Sandbox.create({ image: BASE_IMAGE, connection: this.connection, ...options });
    this.explainFailureOf(sandbox);
    return sandbox;
  }

  /** Runs `msb` as a user would, and waits for its end. */
  async msb(
    args: string[],
    options: { stdin?: string | Buffer; env?: NodeJS.ProcessEnv } = {},
  ): Promise<Ran> {
    const child = this.startMsb(args, options.env);
    child.stdin!.on("error", () => {});
    child.stdin!.end(options.stdin ?? "");
    return await ended(child);
  }

  /** Starts `msb` and leaves it running. */
  startMsb(args: string[], env: NodeJS.ProcessEnv = {}, stdio: StdioOptions = "pipe"): ChildProcess {
    const program = join(ROOT, "src/cli/main.ts");
    return spawn(process.execPath, ["--disable-warning=ExperimentalWarning", program, ...args], {
      env: { ...this.env, ...env },
      stdio,
    });
  }

  /** Pid of the daemon of this home. */
  async daemonPid(): Promise<number> {
    const status = await Daemon.status({ connection: this.connection });
    if (status === undefined) throw new Error("no daemon runs");
    return status.pid;
  }

  /** Ends the daemon as a crash would, and waits until it is gone. */
  async killDaemon(): Promise<void> {
    const pid = await this.daemonPid();
    process.kill(pid, "SIGKILL");
    await until(async () => !(await isAlive(pid)), "the daemon is gone");
  }

  /** Pids of the QEMU processes that keep their sockets in this home. */
  async vmPids(): Promise<number[]> {
    const pids: number[] = [];
    for (const name of await readdir("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      const line = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "");
      // The jail's own process names the home; QEMU, behind it, sees only its jail and is that process's child.
      if (line.startsWith("bwrap\0") && line.includes(this.home))
        pids.push(...(await childrenOf(Number(name))));
      // Without a jail (MSB_JAIL_WITHOUT) QEMU names the home itself.
      if (/^[^\0]*qemu-system/.test(line) && line.includes(this.home)) pids.push(Number(name));
    }
    const alive = await Promise.all(pids.map(isAlive));
    return pids.filter((_, i) => alive[i]);
  }

  /** Pids of all daemons that were started for this home, also of those that are about to leave. */
  async daemonPids(): Promise<number[]> {
    const pids: number[] = [];
    for (const name of await readdir("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      const line = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "");
      if (!line.includes("server/main")) continue;
      const env = await readFile(`/proc/${name}/environ`, "utf8").catch(() => "");
      if (env.split("\0").includes(`MSB_HOME=${this.home}`)) pids.push(Number(name));
    }
    return pids;
  }

  /** Pids of the `msb` of this home whose command line has this in it. */
  async clientPids(words: string): Promise<number[]> {
    const pids: number[] = [];
    for (const name of await readdir("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      const line = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "");
      if (!line.startsWith(process.execPath) || !line.includes(words)) continue;
      const env = await readFile(`/proc/${name}/environ`, "utf8").catch(() => "");
      if (env.split("\0").includes(`MSB_HOME=${this.home}`)) pids.push(Number(name));
    }
    return pids;
  }

  /** What lies in a folder of the home; empty if it is not there. */
  async files(folder: string): Promise<string[]> {
    return (await readdir(join(this.home, folder)).catch(() => [])).sort();
  }

  /** The events of this type that the home has seen, oldest first. */
  seen(type: string): { message: string; data: Record<string, unknown> }[] {
    using database = new DatabaseSync(join(this.home, "state.db"), { readOnly: true });
    const rows = database.prepare("SELECT message, data FROM events WHERE type = ? ORDER BY seq").all(type);
    return rows.map(({ message, data }) => ({ message: String(message), data: JSON.parse(String(data)) }));
  }

  async daemonLog(): Promise<string> {
    return readFile(join(this.home, "daemon.log"), "utf8").catch(() => "");
  }

  explainFailureOf(sandbox: Sandbox): void {
    try {
      onTestFailed(async () => {
        const console_ = await sandbox.console().catch((error) => String(error));
        const log = await Array.fromAsync(sandbox.logs()).catch((error) => [String(error)]);
        console.error(`console of ${sandbox.name}:\n${console_}\nlog: ${JSON.stringify(log.slice(-20))}`);
        console.error(`daemon.log:\n${(await this.daemonLog()).slice(-4_000)}`);
      });
    } catch {
      // Made outside a test, in a hook: nothing to hang the explanation on.
    }
  }

  /** Removes every sandbox, except those that remove themselves meanwhile: a `msb run` has its command's end before that. */
  async removeAll(): Promise<void> {
    const sandboxes = await Sandbox.list({ connection: this.connection });
    const removed = await Promise.allSettled(sandboxes.map((sandbox) => sandbox.remove({ force: true })));
    for (const result of removed)
      if (result.status === "rejected" && result.reason.code !== "not_found") throw result.reason;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.removeAll().catch(() => {});
    await Daemon.stop({ connection: this.connection });
    // One that was about to start when the other left would make the home anew.
    for (const pid of await this.daemonPids()) process.kill(pid, "SIGKILL");
    const left = await this.vmPids();
    for (const pid of left) process.kill(pid, "SIGKILL");
    if (!this.ownTemplates) await keepTemplates(HOMES, this.home);
    await rm(this.home, { recursive: true, force: true });
    for (const [key, value] of Object.entries(this.replaced)) {
      if (value === undefined) delete process.env[key];
      else process.env[key] = value;
    }
    if (left.length > 0) throw new Error(`${left.length} VMs outlived their test`);
  }
}

/** Waits until `condition` holds. @throws naming `what` after 30 seconds */
export async function until(
  condition: () => Promise<boolean> | boolean,
  what: string,
  timeoutMs = READY_TIMEOUT_MS,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The end of a process and all that it wrote. */
export async function ended(child: ChildProcess): Promise<Ran> {
  const [stdout, stderr, [code, signal]] = await Promise.all([
    text(child.stdout!),
    text(child.stderr!),
    new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (...end) => resolve(end));
    }),
  ]);
  return { code, signal, stdout, stderr };
}

async function text(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString("utf8");
}

/** Waits for the first output of a process. @throws with what it wrote to stderr if it ends before */
export function firstOutput(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let errors = "";
    child.stderr!.on("data", (chunk) => {
      errors += chunk;
    });
    child.stdout!.once("data", (chunk) => resolve(String(chunk)));
    child.once("close", (code) =>
      reject(new Error(`it ended with ${code} before it wrote anything: ${errors}`)),
    );
  });
}

/** A process of several threads that is a zombie lives as long as another thread: its files and sockets are still open. */
export async function isAlive(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => "");
  if (stat === "" || /\) X /.test(stat)) return false;
  if (!/\) Z /.test(stat)) return true;
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
  return threads.length > 1;
}

async function childrenOf(pid: number): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "latin1").catch(() => "");
  return children.trim().split(/\s+/).filter(Boolean).map(Number);
}
