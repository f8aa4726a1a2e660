import { type ChildProcess, spawn } from "node:child_process";
import { close, open } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import { SandboxError } from "../../../contract/index.ts";
import { closeStrayDescriptors } from "./stray-descriptors.ts";

const openFile = promisify(open);
const closeFile = promisify(close);

/** Descriptor on which bubblewrap tells the pid of QEMU. */
export const INFO_FD = 3;
const INFO_TIMEOUT_MS = 5_000;
const MAX_LOG_READ = 8192;
let straysClosed = false;

export interface Launched {
  /** What we started; with a jail the process that made the jail and waits for QEMU. */
  child: ChildProcess;
  /** Pid of QEMU itself, in our pid namespace. */
  pid: number;
}

/** Where a machine's QEMU writes what it has to say. */
export function logFile(runDirectory: string): string {
  return join(runDirectory, "vmm.log");
}

/**
 * Starts QEMU as a session of its own: it outlives us.
 * @param jailed whether `command` is a bubblewrap that reports on `INFO_FD`
 * @throws `permission_denied` if the jail cannot be made, `not_found` if a program is missing, `internal` otherwise
 */
export async function launch(command: string[], runDirectory: string, jailed: boolean): Promise<Launched> {
  // Once is enough: they come with our own start only.
  if (!straysClosed) closeStrayDescriptors();
  straysClosed = true;
  const log = await openFile(logFile(runDirectory), "a", 0o600);
  let child: ChildProcess;
  try {
    child = spawn(command[0]!, command.slice(1), {
      stdio: jailed ? ["ignore", log, log, "pipe"] : ["ignore", log, log],
      detached: true,
      cwd: "/",
      env: { PATH: process.env.PATH ?? "/usr/bin:/bin" },
    });
  } finally {
    // The child has its own copy by now; a failed spawn reports by event.
    void closeFile(log);
  }
  child.unref();
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (cause) =>
      reject(
        new SandboxError("not_found", `'${command[0]}' cannot be started: ${cause.message}`, {
          cause,
          hint: "'msb doctor' tells what is missing.",
        }),
      ),
    );
  });
  if (!jailed) return { child, pid: child.pid! };
  const info = child.stdio[INFO_FD] as Readable;
  const pid = await readPid(info, child);
  if (pid === undefined) throw await launchFailure(runDirectory);
  return { child, pid };
}

/** Bubblewrap writes one JSON object, `{"child-pid": N, …}`; nothing if it fails before. */
async function readPid(info: Readable, child: ChildProcess): Promise<number | undefined> {
  let text = "";
  const timer = setTimeout(() => info.destroy(), INFO_TIMEOUT_MS);
  try {
    for await (const chunk of info) {
      text += chunk;
      // Not before the closing brace: bubblewrap writes in pieces and would die of a pipe that we closed early.
      const pid = /"child-pid":\s*(\d+)[^}]*\}/.exec(text)?.[1];
      if (pid !== undefined) return Number(pid);
    }
  } catch {
    // Destroyed: no pid in time.
  } finally {
    clearTimeout(timer);
    info.destroy();
  }
  child.kill("SIGKILL");
  return undefined;
}

/** What QEMU or the jail wrote last, at most 8 KiB. */
export async function readLog(runDirectory: string): Promise<string> {
  const text = await readFile(logFile(runDirectory), "utf8").catch(() => "");
  return text.slice(-MAX_LOG_READ).trim();
}

/** Names the reason of a failed start by what the jail or QEMU wrote. */
export async function launchFailure(runDirectory: string, exit = "it said nothing"): Promise<SandboxError> {
  const log = await readLog(runDirectory);
  const last = log.split("\n").at(-1) ?? "";
  if (/^(bwrap|prlimit|[/]?setpriv):/m.test(log)) {
    const line = /^(?:bwrap|prlimit|[/]?setpriv):.*$/m.exec(log)?.[0] ?? last;
    return new SandboxError("permission_denied", `the VM's jail cannot be made on this host: ${line}`, {
      hint:
        "An ordinary user needs unprivileged user namespaces (Ubuntu 24.04: an AppArmor profile for bwrap, or sysctl " +
        "kernel.apparmor_restrict_unprivileged_userns=0). To run without this part of the jail, knowingly: MSB_JAIL_WITHOUT=bubblewrap",
      details: { part: "bubblewrap", log: line },
    });
  }
  if (
    /sandbox support is not enabled|no -sandbox|-sandbox.*(invalid|unknown)|failed to install seccomp/i.test(
      log,
    )
  ) {
    return new SandboxError("permission_denied", `QEMU cannot set up its seccomp filter: ${last}`, {
      hint: "Use a QEMU built with seccomp. To run without it, knowingly: MSB_JAIL_WITHOUT=seccomp",
      details: { part: "seccomp", log: last },
    });
  }
  return new SandboxError("internal", `QEMU ended at its start: ${last || exit}`, {
    hint: "'msb doctor' tells what this host can do.",
    details: { log },
  });
}
