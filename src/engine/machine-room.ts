import { readFile } from "node:fs/promises";
import { createQcow2 } from "./disk/index.ts";
import { findQemu, type MachineShape, type QemuBinary, QemuVmm } from "./machine/index.ts";
import { millisecondsSetting } from "./milliseconds-setting.ts";
import { type Machines, templateBuilder, type UidPool } from "./sandbox/index.ts";
import { type EventLog, installBootAssets, type Paths, sweepBootAssets } from "./store/index.ts";
import { type TemplateInputs, TemplateStore } from "./template/index.ts";

export interface MachineRoomOptions {
  paths: Paths;
  env: NodeJS.ProcessEnv;
  uids: UidPool;
  events: EventLog;
}

/**
 * What starts machines, put together when it is first needed: a home can be listed, and the doctor asked, where QEMU or
 * the boot assets are missing. After a failure it is tried again.
 */
export class MachineRoom {
  private readonly options: MachineRoomOptions;
  private opened: Promise<Machines & { vmm: QemuVmm }> | undefined;

  constructor(options: MachineRoomOptions) {
    this.options = options;
  }

  machines(): Promise<Machines & { vmm: QemuVmm }> {
    this.opened ??= this.open().catch((error) => {
      this.opened = undefined;
      throw error;
    });
    return this.opened;
  }

  qemu(): Promise<QemuBinary> {
    return findQemu(this.options.env);
  }

  /** Removes what interrupted copies and builds left. */
  async sweep(): Promise<void> {
    const { paths } = this.options;
    await Promise.all([
      sweepBootAssets(paths.assets),
      new TemplateStore(paths.templates, () => Promise.reject(new Error("sweeps only"))).sweep(),
    ]);
  }

  private async open(): Promise<Machines & { vmm: QemuVmm }> {
    const { paths, env, uids, events } = this.options;
    const assets = await installBootAssets(paths.assets, env);
    const makeOverlay = (path: string) => createQcow2(path, { virtualSizeBytes: assets.blankBytes });
    const vmm = new QemuVmm({
      directory: paths.machine,
      runDirectory: paths.run,
      boot: assets,
      makeOverlay,
      env,
    });
    const bootTimeoutMs = millisecondsSetting(env, "MSB_BOOT_TIMEOUT_MS");
    const build = templateBuilder({ vmm, assets, runDirectory: paths.run, uids, bootTimeoutMs });
    const templates = new TemplateStore(paths.templates, build, {
      built: ({ key, manifest }) => {
        const { cpus, memoryMiB, volumeSlots, network } = manifest.inputs;
        const message = `template for ${cpus} CPUs and ${memoryMiB} MiB built in ${manifest.buildMs} ms`;
        events.add({ type: "template.built", message, data: { key, cpus, memoryMiB, volumeSlots, network } });
      },
      quarantined: (key, reason) =>
        events.add({ type: "template.quarantined", message: reason, data: { key } }),
    });
    const inputsOf = async (shape: MachineShape): Promise<TemplateInputs> => {
      const identity = await vmm.identify();
      const { cpus, memoryMiB, volumeSlots, network } = shape;
      return {
        cpus,
        memoryMiB,
        volumeSlots,
        network: network === undefined ? "" : `${network.mac}/${network.mtu}`,
        assets: assets.hash,
        ...identity,
        processor: await processorFor(identity.accelerator),
      };
    };
    return { assets, vmm, templates, inputsOf };
  }
}

/** With hardware acceleration the guest sees the host's processor: a state stored on one does not load on another. */
async function processorFor(accelerator: string): Promise<string> {
  if (accelerator === "tcg") return "";
  const text = await readFile("/proc/cpuinfo", "utf8").catch(() => "");
  return text
    .split("\n")
    .filter((line) => /^(model name|flags|microcode|CPU part|Features)\s*:/.test(line))
    .slice(0, 3)
    .join("\n");
}
