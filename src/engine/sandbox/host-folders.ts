import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type FolderMount, type Mount, SandboxError } from "../../contract/index.ts";
import { Folder, FolderSession } from "../folders/index.ts";
import { type AgentConnection, Complaint } from "../guest/index.ts";
import type { FolderPolicy } from "./folder-policy.ts";

/** The folders of the host that a sandbox has mounted, and the processes of its agent that they are served through. */

const FOLDER_DIRECTORY = "folders";
const MOUNT_TIMEOUT_MS = 30_000;
/** What of a folder's requests may be under way. */
const WINDOW_BYTES = 1024 * 1024;

/** What is kept of a folder's mount, so that another daemon can go on serving it. */
export interface ServedFolder {
  channel: number;
  target: string;
}

export class HostFolders {
  readonly #directory: string;
  readonly #policy: FolderPolicy;
  readonly #open = new Map<number, Folder>();

  /** @param directory the sandbox's own; `policy`: asked of each folder before it is served, by whichever daemon */
  constructor(directory: string, policy: FolderPolicy) {
    this.#directory = join(directory, FOLDER_DIRECTORY);
    this.#policy = policy;
  }

  /** Forgets what was known of an earlier run's mounts. */
  begin(): void {
    this.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** Mounts a folder in the guest, over a channel that was never used. It is in place when this settles. */
  async mount(
    agent: AgentConnection,
    channel: number,
    mount: FolderMount,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const folder = this.#serve(channel, mount);
    const argv = ["folder", mount.target, mount.readOnly ? "ro" : "rw"];
    const process = await agent.start(
      channel,
      { argv, builtin: "folder", stdin: true },
      { signal, windowBytes: WINDOW_BYTES },
    );
    const session = new FolderSession(process, folder, new Complaint(), false);
    await within(session.mounted, mount.target, signal);
  }

  /**
   * Goes on with the folders that were served over another connection, or by another daemon.
   * @returns the channels of these
   */
  adopt(agent: AgentConnection, served: readonly ServedFolder[], mounts: readonly Mount[]): Set<number> {
    const channels = new Set<number>();
    for (const { channel, target } of served) {
      const mount = mounts.find((candidate) => candidate.target === target);
      const listed = agent.info.processes.find((process) => process.channel === channel);
      if (mount?.type !== "folder" || listed === undefined) continue;
      channels.add(channel);
      // What it had written for another is of no use: the relay says all of it again.
      const from = { stdoutFrom: listed.stdout.start, stderrFrom: listed.stderr.start };
      const process = agent.adopt(channel, { ...from, windowBytes: WINDOW_BYTES });
      try {
        const folder = this.#open.get(channel) ?? this.#serve(channel, mount);
        new FolderSession(process, folder, new Complaint(), true);
      } catch {
        // The folder is gone from the host, or forbidden by now: what uses it gets errors.
        process.release();
      }
    }
    return channels;
  }

  /** Lets go of them. What the journals hold stays, for a later daemon. */
  close(): void {
    for (const folder of this.#open.values()) folder.close();
    this.#open.clear();
  }

  #serve(channel: number, mount: FolderMount): Folder {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const folder = new Folder({
      source: this.#policy.check(mount),
      readOnly: mount.readOnly,
      owner: { uid: mount.uid ?? 0, gid: mount.gid ?? 0 },
      quotaBytes: mount.quotaMiB === undefined ? Infinity : mount.quotaMiB * 1024 ** 2,
      journal: join(this.#directory, `${channel}.nodes`),
    });
    this.#open.set(channel, folder);
    return folder;
  }
}

/** @throws SandboxError if a source is missing, no folder or forbidden, or something is to be mounted below a folder */
export function assertFolders(mounts: readonly Mount[], policy: FolderPolicy): void {
  const folders = mounts.filter((mount) => mount.type === "folder");
  for (const mount of folders) policy.check(mount);
  for (const { target, type } of mounts) {
    const around = folders.find((folder) => target.startsWith(`${folder.target}/`));
    if (around === undefined || type === "folder") continue;
    throw new SandboxError(
      "unsupported",
      `a ${type} cannot be mounted at '${target}', below the host's folder at '${around.target}'`,
      { hint: "Mount it elsewhere, and put a link to it into the folder." },
    );
  }
}

async function within(
  mounted: Promise<void>,
  target: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new SandboxError("timeout", `the guest did not mount '${target}' in time`)),
    MOUNT_TIMEOUT_MS,
  );
  const onAbort = () => late.reject(new SandboxError("cancelled", "the mount was cancelled"));
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    if (signal?.aborted) onAbort();
    await Promise.race([mounted, late.promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}
