import { createHash } from "node:crypto";
import { chown, lchown, mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SandboxError } from "../../../contract/index.ts";
import type {
  Backing,
  BootFiles,
  BootRequest,
  LoadRequest,
  Machine,
  MachinePlace,
  MachineRecord,
  MachineShape,
  Vmm,
  VmmIdentity,
  VolumeDisk,
} from "../machine.ts";
import { startTimeOf } from "../process-identity.ts";
import { chooseAccelerator, type Verdict } from "./accelerator.ts";
import {
  type Accelerator,
  bootArguments,
  cpuModel,
  loadArguments,
  machineFingerprint,
  type OverlayFiles,
} from "./arguments.ts";
import { findQemu, type QemuBinary } from "./binary.ts";
import { commandLine } from "./command-line.ts";
import { JAIL_PARTS, type JailPart, jailCommand, type Mount } from "./jail.ts";
import { whatKeepsTheJail } from "./jail-check.ts";
import { JAIL, prepareJailRoot } from "./jail-root.ts";
import { INFO_FD, launch } from "./launch.ts";
import { AGENT_SOCKET, NETWORK_SOCKET, QemuMachine, QMP_SOCKET } from "./qemu-machine.ts";

/** QEMU's own need beside the guest's memory: code cache (1 GiB reserved), soft TLBs, heap, libraries. */
const QEMU_ADDRESS_SPACE = 6 * 1024 ** 3;
const BOOT_FILE_SLACK = 64 * 1024 ** 2;

export interface QemuOptions {
  /** Folder for jail roots and the accelerator's verdict. */
  directory: string;
  /** Folder for the sockets of the accelerator's probe; short. */
  runDirectory: string;
  boot: BootFiles;
  /** Makes an empty qcow2 overlay at this path, for the probe's guest; handed in, since this room knows no disk formats. */
  makeOverlay: (path: string) => Promise<void>;
  env?: NodeJS.ProcessEnv;
}

interface Host {
  qemu: QemuBinary;
  jailRoot: string | undefined;
}

/** What one start of QEMU differs by. Paths are as QEMU sees them. */
interface Start {
  accelerator: Accelerator;
  args: string[];
  mounts: Mount[];
  maxFileBytes: number;
  loadFrom?: string;
  capturable?: Pick<MachineRecord, "inside" | "limitable">;
  storeTo?: string;
}

/** QEMU as the engine's VMM. */
export class QemuVmm implements Vmm {
  private readonly options: QemuOptions;
  private readonly env: NodeJS.ProcessEnv;
  private readonly renounced: Set<JailPart>;
  private host: Promise<Host> | undefined;
  private verdict: Promise<Verdict> | undefined;

  constructor(options: QemuOptions) {
    this.options = options;
    this.env = options.env ?? process.env;
    this.renounced = renouncedParts(this.env.MSB_JAIL_WITHOUT);
  }

  async identify(options: { signal?: AbortSignal } = {}): Promise<VmmIdentity> {
    const [{ qemu }, { accelerator }] = await Promise.all([
      this.prepared(),
      this.accelerator(options.signal),
    ]);
    return {
      vmm: "qemu",
      version: qemu.version,
      fingerprint: createHash("sha256")
        .update(qemu.hash)
        .update(machineFingerprint(accelerator))
        .update(await commandLine(accelerator))
        .digest("hex"),
      accelerator,
      cpuModel: cpuModel(accelerator),
    };
  }

  /** The accelerator and why it is not a faster one. */
  accelerator(signal?: AbortSignal): Promise<Verdict> {
    this.verdict ??= this.decide(signal).catch((error) => {
      this.verdict = undefined;
      throw error;
    });
    return this.verdict;
  }

  /** What stands in the way of jailing QEMU on this host; `undefined` if nothing does. */
  async whatKeepsTheJail(): Promise<string | undefined> {
    const { jailRoot } = await this.prepared();
    if (jailRoot === undefined) return undefined;
    return whatKeepsTheJail(jailRoot, process.getuid?.() === 0 ? PROBE_UID : undefined);
  }

  async boot(request: BootRequest): Promise<Machine> {
    const { accelerator } = await this.accelerator();
    return this.bootWith(accelerator, await commandLine(accelerator), request);
  }

  async load(request: LoadRequest): Promise<Machine> {
    const [host, { accelerator }] = await Promise.all([this.prepared(), this.accelerator()]);
    const { disks, stateDirectory } = request;
    const outside = {
      state: stateDirectory,
      run: request.runDirectory,
      rootDisk: disks.rootDirectory,
      writable: disks.writableDirectory,
      upper: disks.upper.directory,
      kept: disks.kept?.directory ?? "",
    };
    const at = this.places(host, outside);
    const args = loadArguments({
      ...this.common(host, accelerator, request),
      memoryFile: `${at.state}/memory`,
      rootDescriptor: `${at.rootDisk}/root.vmdk`,
      upper: overlayFiles(`${at.writable}/upper.qcow2`, at.upper, disks.upper),
      kept: disks.kept && overlayFiles(`${at.writable}/kept.qcow2`, at.kept, disks.kept),
      volumes: disks.volumes.map(({ file, overlay }, slot) => {
        const path = host.jailRoot === undefined ? file : `${JAIL.volume}${slot}`;
        return overlay === undefined
          ? { file: path }
          : { overlay: `${at.writable}/${overlay}`, backing: [path] };
      }),
      limitable: request.limitable,
    });
    await this.giveAway(disks.writableDirectory, request.uid);
    await giveVolumes(disks.volumes, request.uid);
    const mounts = [
      { source: stateDirectory, target: JAIL.state },
      { source: disks.rootDirectory, target: JAIL.rootDisk },
      { source: disks.writableDirectory, target: JAIL.writable, writable: true },
      { source: disks.upper.directory, target: JAIL.upper },
      ...(disks.kept === undefined ? [] : [{ source: disks.kept.directory, target: JAIL.kept }]),
      ...disks.volumes.map(({ file, overlay }, slot) => ({
        source: file,
        target: `${JAIL.volume}${slot}`,
        writable: overlay === undefined,
      })),
    ];
    return this.launch(host, request, {
      accelerator,
      args,
      mounts,
      maxFileBytes: request.maxFileBytes,
      loadFrom: at.state,
      capturable: { inside: { run: at.run, writable: at.writable }, limitable: request.limitable },
    });
  }

  async adopt(record: MachineRecord): Promise<Machine | undefined> {
    if ((await startTimeOf(record.pid)) !== record.pidStartTime) return undefined;
    return new QemuMachine(record, {});
  }

  private async bootWith(
    accelerator: Accelerator,
    commandLine: string,
    request: BootRequest,
  ): Promise<Machine> {
    const host = await this.prepared();
    const { boot, stateDirectory } = request;
    const at = this.places(host, { state: stateDirectory, boot: boot.directory });
    const args = bootArguments({
      ...this.common(host, accelerator, request),
      kernel: `${at.boot}/${boot.kernel}`,
      initramfs: `${at.boot}/${boot.initramfs}`,
      commandLine,
      memoryFile: `${at.state}/memory`,
      rootFile: `${at.state}/root.raw`,
      upper: { overlay: `${at.state}/upper.qcow2`, backing: [`${at.boot}/${boot.blank}`] },
    });
    await this.giveAway(stateDirectory, request.uid);
    const mounts = [
      { source: stateDirectory, target: JAIL.state, writable: true },
      { source: boot.directory, target: JAIL.boot },
    ];
    const maxFileBytes = request.shape.memoryMiB * 1024 ** 2 + BOOT_FILE_SLACK;
    return this.launch(host, request, { accelerator, args, mounts, maxFileBytes, storeTo: at.state });
  }

  private async launch(
    host: Host,
    request: MachinePlace & { shape: MachineShape },
    start: Start,
  ): Promise<Machine> {
    const { accelerator, args, mounts, maxFileBytes, loadFrom, storeTo } = start;
    const { runDirectory, uid } = request;
    await this.giveAway(runDirectory, uid);
    const command =
      host.jailRoot === undefined
        ? [host.qemu.path, ...args]
        : jailCommand(
            {
              root: host.jailRoot,
              mounts: [{ source: runDirectory, target: JAIL.run, writable: true }, ...mounts],
              uid,
              gid: accelerator === "kvm" ? (await stat("/dev/kvm")).gid : undefined,
              kvm: accelerator === "kvm",
              maxFileBytes,
              maxAddressSpace: request.shape.memoryMiB * 1024 ** 2 + QEMU_ADDRESS_SPACE,
              infoFd: INFO_FD,
            },
            args,
          );
    const { child, pid } = await launch(command, runDirectory, host.jailRoot !== undefined);
    const record = {
      pid,
      pidStartTime: (await startTimeOf(pid)) ?? "",
      runDirectory,
      accelerator,
      network: request.shape.network !== undefined,
      ...start.capturable,
    };
    return new QemuMachine(record, { child, loadFrom, storeTo });
  }

  private common(host: Host, accelerator: Accelerator, request: MachinePlace & { shape: MachineShape }) {
    const run = this.places(host, { run: request.runDirectory }).run;
    return {
      accelerator,
      shape: request.shape,
      seccomp: process.platform === "linux" && !this.renounced.has("seccomp"),
      paths: {
        qmpSocket: `${run}/${QMP_SOCKET}`,
        agentSocket: `${run}/${AGENT_SOCKET}`,
        networkSocket: `${run}/${NETWORK_SOCKET}`,
        firmware: host.jailRoot === undefined ? undefined : JAIL.firmware,
      },
    };
  }

  /** Where QEMU finds files: at fixed places inside its jail, or where they are if there is none. */
  private places<T extends Partial<Record<keyof typeof JAIL, string>>>(host: Host, outside: T): T {
    if (host.jailRoot === undefined) return outside;
    return Object.fromEntries(Object.keys(outside).map((key) => [key, JAIL[key as keyof typeof JAIL]])) as T;
  }

  /** A folder that the VMM writes to, and the files in it, belong to the uid it runs as. */
  private async giveAway(directory: string, uid: number | undefined): Promise<void> {
    if (uid === undefined) return;
    // What an earlier VMM may have left there as a link to a file of the host stays a link.
    await Promise.all([
      chown(directory, uid, uid),
      ...(await readdir(directory)).map((name) => lchown(join(directory, name), uid, uid)),
    ]);
  }

  private prepared(): Promise<Host> {
    this.host ??= this.prepare().catch((error) => {
      this.host = undefined;
      throw error;
    });
    return this.host;
  }

  private async prepare(): Promise<Host> {
    const qemu = await findQemu(this.env);
    if (this.renounced.has("bubblewrap")) return { qemu, jailRoot: undefined };
    if (process.platform !== "linux") {
      throw new SandboxError("permission_denied", `there is no jail for QEMU on ${process.platform} yet`, {
        hint: "To run QEMU without bubblewrap, knowingly: MSB_JAIL_WITHOUT=bubblewrap",
      });
    }
    return { qemu, jailRoot: await prepareJailRoot(join(this.options.directory, "jail"), qemu) };
  }

  private async decide(signal: AbortSignal | undefined): Promise<Verdict> {
    const { qemu } = await this.prepared();
    const scratch = join(this.options.runDirectory, `probe-${process.pid}`);
    try {
      return await chooseAccelerator({
        forced: this.env.MSB_ACCELERATOR,
        qemuHash: qemu.hash,
        cacheFile: join(this.options.directory, "accelerator.json"),
        signal,
        boot: async (accelerator) => {
          await mkdir(join(scratch, "state"), { recursive: true });
          await this.options.makeOverlay(join(scratch, "state", "upper.qcow2"));
          await writeFile(join(scratch, "state", "root.raw"), Buffer.alloc(PROBE_DISK_BYTES));
          return this.bootWith(accelerator, await commandLine(accelerator, { verbose: true }), {
            shape: { cpus: 1, memoryMiB: 256, volumeSlots: 0 },
            boot: this.options.boot,
            stateDirectory: join(scratch, "state"),
            runDirectory: scratch,
            uid: process.getuid?.() === 0 ? PROBE_UID : undefined,
          });
        },
      });
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  }
}

/** A volume belongs to the uid that writes to it; the others can read it, where they are shown it at all. */
async function giveVolumes(volumes: readonly VolumeDisk[], uid: number | undefined): Promise<void> {
  if (uid === undefined) return;
  const written = volumes.filter(({ overlay }) => overlay === undefined);
  await Promise.all(written.map(({ file }) => chown(file, uid, uid)));
}

/** @param at where QEMU sees the folder of the files below */
function overlayFiles(overlay: string, at: string, { levels }: Backing): OverlayFiles {
  return { overlay, backing: Array.from({ length: levels }, (_, level) => `${at}/${levels - 1 - level}`) };
}

/** The probe's guest reads no disk. */
const PROBE_DISK_BYTES = 4096;
/** Uid of machines that are nobody's sandbox: the accelerator's probe. One below those of sandboxes. */
const PROBE_UID = 899_999_999;

/** @throws `invalid_argument` for a word that is no part of the jail */
export function renouncedParts(setting: string | undefined): Set<JailPart> {
  const words = (setting ?? "")
    .split(",")
    .map((w) => w.trim())
    .filter(Boolean);
  for (const word of words) {
    if (!(JAIL_PARTS as readonly string[]).includes(word)) {
      throw new SandboxError(
        "invalid_argument",
        `MSB_JAIL_WITHOUT names '${word}', which is no part of the jail`,
        {
          hint: `It takes a comma-separated list of: ${JAIL_PARTS.join(", ")}`,
        },
      );
    }
  }
  return new Set(words as JailPart[]);
}
