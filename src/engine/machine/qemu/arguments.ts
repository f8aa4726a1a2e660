import type { MachineShape } from "../machine.ts";

/**
 * The arguments that make QEMU the machine we want. Pure: plain data in, a list of strings out. What is the same for the
 * machine that stores a state and for those that load it is written once, since any difference makes a state unloadable.
 */

export type Accelerator = "kvm" | "hvf" | "whpx" | "tcg";

/** Paths as QEMU sees them, inside its jail. */
export interface MachinePaths {
  qmpSocket: string;
  agentSocket: string;
  firmware?: string | undefined;
}

export interface CommonOptions {
  accelerator: Accelerator;
  shape: MachineShape;
  paths: MachinePaths;
  /** QEMU's own seccomp filter; Linux only. */
  seccomp: boolean;
}

export interface BootOptions extends CommonOptions {
  kernel: string;
  initramfs: string;
  commandLine: string;
  /** File that becomes the guest's memory, written to. */
  memoryFile: string;
}

export interface LoadOptions extends CommonOptions {
  /** Mapped copy-on-write and opened read-only: what one sandbox does, no other sees. */
  memoryFile: string;
  rootDescriptor: string;
  upperFile: string;
  blankFile: string;
}

/** Name of the virtio-serial port that the agent opens (spec/agent-protocol.md). */
export const AGENT_PORT = "org.microsandbox.agent";
/** Bytes of console that QEMU keeps; a power of two. */
export const CONSOLE_BYTES = 65_536;

/** What the guest takes for the size of each disk, 1 TiB: it was told so when the state was stored. */
const PLACEHOLDER_BYTES = 1024 ** 4;

/** The CPU model. Under an accelerator `host` cannot be stored by some; `max` is all that TCG emulates. */
export function cpuModel(accelerator: Accelerator): string {
  // invtsc makes QEMU refuse to store a KVM guest; it is the one feature of `host` that does.
  return accelerator === "kvm" ? "host,-invtsc" : accelerator === "tcg" ? "max" : "host";
}

/** What a stored state depends on apart from the shape: part of a template's key. */
export function machineFingerprint(accelerator: Accelerator): string {
  return JSON.stringify(
    common({
      accelerator,
      shape: { cpus: 1, memoryMiB: 1 },
      paths: { qmpSocket: "", agentSocket: "" },
      seccomp: true,
    }),
  );
}

/** A machine that boots, so that its state can be stored. Its disks are placeholders that answer with zeros. */
export function bootArguments(options: BootOptions): string[] {
  return [
    ...common(options),
    ...memory(options.shape, `mem-path=${doubleCommas(options.memoryFile)},share=on`),
    // The stored state does not say that it was stored by a paused machine: who loads it runs on at once.
    ...["-global", "migration.store-global-state=off"],
    ...["-kernel", options.kernel, "-initrd", options.initramfs, "-append", options.commandLine],
    ...["-blockdev", `driver=null-co,node-name=root,size=${PLACEHOLDER_BYTES},read-zeroes=on,read-only=on`],
    ...["-blockdev", `driver=null-co,node-name=upper,size=${PLACEHOLDER_BYTES},read-zeroes=on`],
    ...disks(),
  ];
}

/** A machine that loads a stored state and runs on at once, with its real disks. */
export function loadArguments(options: LoadOptions): string[] {
  // locking=off: the daemon sees to it that a disk has one writer, and the jail has no /dev/null to probe locks with.
  const file = (node: string, path: string, readOnly: boolean) =>
    `driver=file,locking=off,node-name=${node},filename=${doubleCommas(path)},read-only=${readOnly ? "on" : "off"}`;
  return [
    ...common(options),
    ...memory(options.shape, `mem-path=${doubleCommas(options.memoryFile)},share=off,readonly=on,rom=off`),
    ...["-blockdev", file("root-file", options.rootDescriptor, true)],
    ...["-blockdev", "driver=vmdk,node-name=root,file=root-file,read-only=on"],
    ...["-blockdev", file("blank-file", options.blankFile, true)],
    ...["-blockdev", "driver=raw,node-name=blank,file=blank-file,read-only=on"],
    ...["-blockdev", `${file("upper-file", options.upperFile, false)},discard=unmap`],
    // The backing node is named here and never by the overlay file, which the guest's VMM can write.
    ...["-blockdev", "driver=qcow2,node-name=upper,file=upper-file,backing=blank,discard=unmap"],
    ...disks(),
    // The state is named over QMP, behind the capability it needs.
    ...["-incoming", "defer"],
  ];
}

function common(options: CommonOptions): string[] {
  const { accelerator, shape, paths } = options;
  return [
    // pit=on: without it a TCG guest cannot calibrate its TSC and hangs. acpi=on: stock kernels find virtio-mmio
    // devices by ACPI only. ioapic2=on: 24 virtio-mmio slots in place of 8.
    "-M",
    "microvm,acpi=on,rtc=on,pit=on,pic=on,isa-serial=on,x-option-roms=off,ioapic2=on,memory-backend=mem",
    ...["-accel", accelerator, "-cpu", cpuModel(accelerator)],
    ...["-smp", String(shape.cpus), "-m", `${shape.memoryMiB}M`],
    // SeaBIOS, the default firmware with ACPI, does not start an uncompressed kernel here: the guest stays silent.
    ...["-bios", "qboot.rom"],
    ...["-nodefaults", "-no-user-config", "-display", "none"],
    // A guest that powers off, resets or panics leaves QEMU standing still, so that its console can be read.
    ...["-action", "reboot=shutdown,shutdown=pause,panic=pause"],
    ...["-global", "virtio-mmio.force-legacy=false"],
    ...(options.seccomp
      ? ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
      : []),
    ...(paths.firmware === undefined ? [] : ["-L", paths.firmware]),
    ...["-chardev", `ringbuf,id=console,size=${CONSOLE_BYTES}`, "-serial", "chardev:console"],
    ...[
      "-chardev",
      `socket,id=qmp,path=${doubleCommas(paths.qmpSocket)},server=on,wait=off`,
      "-mon",
      "chardev=qmp,mode=control",
    ],
    ...["-chardev", `socket,id=agent,path=${doubleCommas(paths.agentSocket)},server=on,wait=off`],
    ...[
      "-device",
      "virtio-serial-device,max_ports=2",
      "-device",
      `virtserialport,chardev=agent,name=${AGENT_PORT}`,
    ],
  ];
}

function memory(shape: MachineShape, source: string): string[] {
  return ["-object", `memory-backend-file,id=mem,size=${shape.memoryMiB}M,${source}`];
}

function disks(): string[] {
  return ["root", "upper"].flatMap((role) => ["-device", `virtio-blk-device,drive=${role},serial=${role}`]);
}

/** QEMU's option parser takes a comma for the end of a value; two stand for one. */
function doubleCommas(value: string): string {
  return value.replaceAll(",", ",,");
}
