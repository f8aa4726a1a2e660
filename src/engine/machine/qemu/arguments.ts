import type { MachineShape } from "../machine.ts";
import { agentArguments } from "./agent-stream.ts";
import { networkArguments } from "./network.ts";

/**
 * The arguments that make QEMU the machine we want. Pure: plain data in, a list of strings out. What is the same for the
 * machine that stores a state and for those that load it is written once, since any difference makes a state unloadable.
 */

export type Accelerator = "kvm" | "hvf" | "whpx" | "tcg";

/** Paths as QEMU sees them, inside its jail. */
export interface MachinePaths {
  qmpSocket: string;
  agentSocket: string;
  networkSocket: string;
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
  /** Raw disk in place of an image's. */
  rootFile: string;
  upper: OverlayFiles;
}

/** A writable qcow2 and the files below it, topmost first; the last is a raw disk. */
export interface OverlayFiles {
  overlay: string;
  backing: string[];
}

export interface LoadOptions extends CommonOptions {
  /** Mapped copy-on-write and opened read-only: what one sandbox does, no other sees. */
  memoryFile: string;
  rootDescriptor: string;
  upper: OverlayFiles;
  kept?: OverlayFiles | undefined;
  /** For the first slots of the shape. */
  volumes: VolumeFiles[];
  /** Whether limits will be set for the disks. Default: false. */
  limitable?: boolean | undefined;
}

/** A raw disk that is written to; or one that is only read, below an overlay. */
export type VolumeFiles = { file: string } | OverlayFiles;

/** Name of the virtio-serial port that the agent opens (spec/agent-protocol.md). */
export const AGENT_PORT = "org.microsandbox.agent";
/** Bytes of console that QEMU keeps; a power of two. */
export const CONSOLE_BYTES = 65_536;

/** What the guest takes for the size of each disk, 1 TiB: it was told so when the state was stored. */
const PLACEHOLDER_BYTES = 1024 ** 4;

/**
 * The CPU model. Under an accelerator `host` cannot be stored by some; `max` is all that TCG emulates, but for what it does slowly.
 *
 * With ERMS or FSRM ("fast" REP MOVSB), kernel, C libraries and Go copy byte by byte: a processor makes long moves of that, TCG does
 * each byte for itself. Without them they copy eight or more at a time: a pipe carries 2.7 times as much, and loading takes half as long.
 */
export function cpuModel(accelerator: Accelerator): string {
  // invtsc makes QEMU refuse to store a KVM guest; it is the one feature of `host` that does.
  return accelerator === "kvm" ? "host,-invtsc" : accelerator === "tcg" ? "max,-erms,-fsrm" : "host";
}

/** What a stored state depends on apart from the shape: part of a template's key. */
export function machineFingerprint(accelerator: Accelerator): string {
  const shape: MachineShape = {
    cpus: 1,
    memoryMiB: 1,
    volumeSlots: 0,
    network: { mac: "", mtu: 0 },
  };
  const options = {
    accelerator,
    shape,
    paths: { qmpSocket: "", agentSocket: "", networkSocket: "" },
    seccomp: true,
  };
  return JSON.stringify([...common(options), ...network(options)]);
}

/** A machine that boots, so that its state can be stored. It has a fresh upper disk, and others in place of those to come. */
export function bootArguments(options: BootOptions): string[] {
  return [
    ...common(options),
    ...memory(options.shape, `mem-path=${doubleCommas(options.memoryFile)},share=on`),
    // The stored state does not say that it was stored by a paused machine: who loads it runs on at once.
    ...["-global", "migration.store-global-state=off"],
    ...["-kernel", options.kernel, "-initrd", options.initramfs, "-append", options.commandLine],
    ...["-blockdev", file("root-file", options.rootFile, true)],
    ...["-blockdev", "driver=raw,node-name=root,file=root-file,read-only=on"],
    ...overlay("upper", options.upper),
    ...placeholder("kept"),
    ...volumes(options.shape, []),
    ...disks(options.shape),
    ...network(options),
  ];
}

/** A machine that loads a stored state and runs on at once, with its real disks. */
export function loadArguments(options: LoadOptions): string[] {
  const { limitable = false } = options;
  return [
    ...common(options),
    ...memory(options.shape, `mem-path=${doubleCommas(options.memoryFile)},share=off,readonly=on,rom=off`),
    ...["-blockdev", file("root-file", options.rootDescriptor, true)],
    ...(limitable ? ["-object", `throttle-group,id=${THROTTLE_GROUP}`] : []),
    ...throttled("root", limitable, true, (node) => [
      "-blockdev",
      `driver=vmdk,node-name=${node},file=root-file,read-only=on`,
    ]),
    ...overlay("upper", options.upper, limitable),
    ...(options.kept === undefined ? placeholder("kept") : overlay("kept", options.kept, limitable)),
    ...volumes(options.shape, options.volumes, limitable),
    ...disks(options.shape),
    ...network(options),
    // The state is named over QMP, behind the capability it needs.
    ...["-incoming", "defer"],
  ];
}

/** A disk that answers with zeros, in the place of one that is attached when the state is loaded. */
function placeholder(role: string): string[] {
  return ["-blockdev", `driver=null-co,node-name=${role},size=${PLACEHOLDER_BYTES},read-zeroes=on`];
}

function volumeRoles({ volumeSlots }: MachineShape): string[] {
  return Array.from({ length: volumeSlots }, (_, slot) => `volume${slot}`);
}

function volumes(shape: MachineShape, given: readonly VolumeFiles[], limitable = false): string[] {
  return volumeRoles(shape).flatMap((role, slot) => {
    const volume = given[slot];
    if (volume === undefined) return placeholder(role);
    return "file" in volume ? rawDisk(role, volume.file, limitable) : overlay(role, volume, limitable);
  });
}

/**
 * Written through QEMU's default cache mode: a write is in the host's page cache when the guest hears that it is done, so the
 * death of QEMU loses nothing; a flush of the guest is an fdatasync(2) of the host, so what was committed outlives the host's too.
 */
function rawDisk(role: string, path: string, limitable: boolean): string[] {
  return throttled(role, limitable, false, (node) => [
    ...["-blockdev", `${file(`${role}-file`, path, false)},discard=unmap`],
    ...["-blockdev", `driver=raw,node-name=${node},file=${role}-file,discard=unmap`],
  ]);
}

/** Each file's backing is named here and never by the file itself, which a guest that owns its VMM can write. */
function overlay(role: string, { overlay, backing }: OverlayFiles, limitable = false): string[] {
  const args: string[] = [];
  const add = (node: string, path: string, format: string, below: string | undefined, readOnly: boolean) => {
    const options = `${readOnly ? ",read-only=on" : ",discard=unmap"}`;
    args.push("-blockdev", `${file(`${node}-file`, path, readOnly)}${readOnly ? "" : ",discard=unmap"}`);
    const backed = below === undefined ? "" : `,backing=${below}`;
    args.push("-blockdev", `driver=${format},node-name=${node},file=${node}-file${backed}${options}`);
  };
  let below: string | undefined;
  for (const [i, path] of [...backing.entries()].reverse()) {
    const node = `${role}-${i}`;
    add(node, path, i === backing.length - 1 ? "raw" : "qcow2", below, true);
    below = node;
  }
  return throttled(role, limitable, false, (node) => {
    add(node, overlay, "qcow2", below, false);
    return args;
  });
}

/**
 * One group for all disks of the machine: what one of them takes, the others do not get. It limits nothing until it is told how much
 * over QMP, since a start reads and writes more than some limits let it.
 */
export const THROTTLE_GROUP = "disks";

/** The node that has what a machine writes to a disk. */
export function topNode(role: string, limitable: boolean): string {
  return limitable ? `${role}-unlimited` : role;
}

/**
 * A disk, behind a filter if limits will be set. The topmost node has the role's name either way: the devices are the same, and a
 * stored state, which knows devices and no nodes, loads with or without limits.
 * @param disk makes it, with the name that its own topmost node is to have
 */
function throttled(
  role: string,
  limitable: boolean,
  readOnly: boolean,
  disk: (node: string) => string[],
): string[] {
  if (!limitable) return disk(role);
  const below = topNode(role, limitable);
  const options = readOnly ? "read-only=on" : "discard=unmap";
  return [
    ...disk(below),
    ...[
      "-blockdev",
      `driver=throttle,node-name=${role},throttle-group=${THROTTLE_GROUP},file=${below},${options}`,
    ],
  ];
}

/** locking=off: the daemon sees to it that a disk has one writer, and the jail has no /dev/null to probe locks with. */
function file(node: string, path: string, readOnly: boolean): string {
  return `driver=file,locking=off,node-name=${node},filename=${doubleCommas(path)},read-only=${readOnly ? "on" : "off"}`;
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
    ...agentArguments(doubleCommas(paths.agentSocket), AGENT_PORT),
  ];
}

function memory(shape: MachineShape, source: string): string[] {
  return ["-object", `memory-backend-file,id=mem,size=${shape.memoryMiB}M,${source}`];
}

function disks(shape: MachineShape): string[] {
  return ["root", "upper", "kept", ...volumeRoles(shape)].flatMap((role) => [
    "-device",
    `virtio-blk-device,drive=${role},serial=${role}`,
  ]);
}

/** Behind the disks, so that with it and without it they are in the same slots. */
function network({ shape, paths }: CommonOptions): string[] {
  if (shape.network === undefined) return [];
  return networkArguments(shape.network, doubleCommas(paths.networkSocket));
}

/** QEMU's option parser takes a comma for the end of a value; two stand for one. */
function doubleCommas(value: string): string {
  return value.replaceAll(",", ",,");
}
