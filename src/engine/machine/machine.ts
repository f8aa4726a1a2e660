/**
 * What a virtual machine can do, and nothing about how. QEMU is the first implementation; another VMM is another
 * folder beside `qemu/`, and nothing outside this room changes.
 */

/** What a stored state is bound to: a state loads only into a machine of the same shape. */
export interface MachineShape {
  cpus: number;
  memoryMiB: number;
  /** Disks that volumes may be attached to, used or not. */
  volumeSlots: number;
  /** Its network interface; none if undefined. */
  network?: NetworkInterface | undefined;
}

export interface NetworkInterface {
  /** Six pairs of hex digits between colons. */
  mac: string;
  /** Largest IP packet, bytes: 1280 … 65535. */
  mtu: number;
}

/** The most that a machine can have. */
export const MAX_VOLUME_SLOTS = 16;

/** Files that boot a guest. */
export interface BootFiles {
  /** Folder that holds them; nothing else may be in it that a guest must not read. */
  directory: string;
  kernel: string;
  initramfs: string;
  /** Blank ext4 disk. */
  blank: string;
}

/**
 * Where a machine keeps its sockets and its log: a short path, a unix socket's has 108 bytes. The folder is the
 * machine's alone.
 */
export interface MachinePlace {
  runDirectory: string;
  /** User and group id that the VMM takes on; only where the daemon is root. */
  uid?: number | undefined;
}

export interface BootRequest extends MachinePlace {
  shape: MachineShape;
  boot: BootFiles;
  /**
   * Folder with `upper.qcow2`, an overlay over the boot files' `blank.ext4`, and `root.raw`, in place of an image's disk; `memory`
   * and, by `store`, `state` are added.
   */
  stateDirectory: string;
}

/**
 * The disks of a machine, by role; the guest knows them by the role as serial number. `root`: the image. `upper`: the
 * file system that the guest had mounted when the state was stored, as it was then. `kept`: the file system of an earlier run, if there
 * is one.
 */
export interface MachineDisks {
  /** Folder with `root.vmdk` and its extents; read-only. */
  rootDirectory: string;
  /** Folder with the overlays `upper.qcow2` and, if there is a `kept`, `kept.qcow2`; all that the machine writes to. */
  writableDirectory: string;
  /** What is below `upper.qcow2`. */
  upper: Backing;
  /** What is below `kept.qcow2`, if there is one. */
  kept?: Backing | undefined;
  /** The first goes into the first of the shape's slots, and so on; the guest knows them as `volume0`, `volume1`, … */
  volumes: VolumeDisk[];
}

/** The files below an overlay: `0`, a raw disk, `1`, an overlay over it, and so on, in one folder; read-only. */
export interface Backing {
  directory: string;
  levels: number;
}

/** Bounds of a machine's disks, all of them together, reads and writes. At least one is there. */
export interface DiskLimits {
  /** Requests in a second. */
  iops?: number | undefined;
  bytesPerSecond?: number | undefined;
}

export interface VolumeDisk {
  /** Raw disk. The machine may write to it, unless there is an overlay. */
  file: string;
  /**
   * Name of a qcow2 in the writable folder that takes all writes, so that `file` is only read: the journal of a disk
   * that was cut off must be replayed even by those who only read.
   */
  overlay?: string | undefined;
}

export interface LoadRequest extends MachinePlace {
  shape: MachineShape;
  /** Folder with `memory` and `state`; read-only. */
  stateDirectory: string;
  disks: MachineDisks;
  /** Whether `limitDisks` will be called. Default: false. */
  limitable?: boolean | undefined;
  /** Largest file that the machine may write, bytes: bounds what an owned VMM can do to the host's disk. */
  maxFileBytes: number;
}

/** All that another process needs to take a running machine over. Plain data; it is stored. */
export interface MachineRecord {
  pid: number;
  /** Start time of `pid` in clock ticks since boot: tells it from a later process with the same number. */
  pidStartTime: string;
  runDirectory: string;
  accelerator: string;
  /** Whether it has a network interface. */
  network?: boolean | undefined;
  /** Where the VMM finds its run directory and its writable folder; of a machine that was loaded. */
  inside?: { run: string; writable: string } | undefined;
  /** See `LoadRequest`. */
  limitable?: boolean | undefined;
}

/** Why a machine is no more. */
export interface MachineExit {
  cause: "powered-off" | "guest-reset" | "guest-panic" | "killed" | "crashed" | "state-rejected";
  /** One sentence; for a panic the kernel's own. */
  message: string;
}

export interface MachineStatistics {
  /** CPU seconds that the VMM has used, user and system. */
  cpuSeconds: number;
  /** Memory that is this machine's alone, bytes. */
  privateBytes: number;
  /** Memory that the VMM's process has at hand, with what it shares with other machines, bytes. */
  residentBytes: number;
  /** What the guest has read from and written to its disks, bytes. */
  diskReadBytes: number;
  diskWrittenBytes: number;
}

/** Pages of 4 KiB that follow each other. */
export interface PageRun {
  /** Number of the first one, from the beginning of the guest's memory. */
  page: number;
  count: number;
}

/** Bytes of a page. */
export const PAGE_BYTES = 4096;

/** What a machine has changed in its memory since it was loaded. */
export interface DirtyMemory {
  /** Ascending; none touches the next. */
  runs: PageRun[];
  /** All of it is held already, so that the machine may go on before it is written. Else it must stand still until then. */
  held: boolean;
  /** Writes the pages of all runs, one after the other, to a file that is not there yet. Once. @throws errors of the file system as they are */
  writeTo(file: string): Promise<void>;
  /** What has not been written is not wanted. Doing it again does nothing. */
  release(): Promise<void>;
}

/** A disk to be copied as it is at one moment. */
export interface DiskCopy {
  /** `upper`, `kept`, `volume0`, … */
  role: string;
  /** What is there to be copied into: a new qcow2 in the machine's writable folder, of the disk's size. */
  file: string;
  /** `own`: what the machine has written to its overlay. `all`: the whole disk. */
  what: "own" | "all";
}

export interface CaptureRequest {
  /** What the machine was loaded from: its device state, and the file of its memory. */
  origin: { state: Buffer; memoryFile: string };
  copies: readonly DiskCopy[];
}

/** A loaded machine as it is at one moment: with this another one goes on from there. */
export interface Captured {
  /** Its device state, whole. */
  state: Buffer;
  memory: DirtyMemory;
  /** Resolves when the disks are copied. The machine may go on meanwhile. */
  copied: Promise<void>;
}

/** Everything that takes time has been made ready for a capture. */
export interface Capture {
  /** To be called once, while the machine stands still; it may go on when this has resolved and the memory is held or written. */
  take(): Promise<Captured>;
  /** In place of `take`. */
  cancel(): Promise<void>;
}

/** A virtual machine that runs. Its life does not depend on this object's: `detach` lets go of it. */
export interface Machine {
  readonly record: MachineRecord;
  /** Unix socket of the guest agent's port. See `agentStreamIsTaken` before one is resumed that has lost its peer. */
  readonly agentSocket: string;
  /**
   * Unix stream socket of the network interface, if there is one: Ethernet frames both ways, each behind its length (4 bytes,
   * big-endian). The VMM listens and takes one peer at a time. What the guest sends while there is none is dropped; when a peer has
   * gone, with whatever it left half sent or unread, the next one may come. A peer must read on, and drop what it has no room for:
   * QEMU writes to it without end, and while it waits the whole machine stands still, its control channel too.
   */
  readonly networkSocket: string | undefined;
  /** Settles once, when the VM is gone (and its last console output was read). Never rejects. */
  readonly exited: Promise<MachineExit>;
  /** Resolves when the VMM's control channel answers. Rejects if it never does. */
  readonly controlled: Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /**
   * Resolves when a connection to `agentSocket` is the agent's stream. A machine that stands still is not told that the peer of its port
   * has gone. If it goes on before there is another one, what the guest sends then is refused, and QEMU takes nothing from it again until
   * that other one has gone, too (hw/char/virtio-console.c, seen with 10.0.2: a write of `flush_buf` fails after `enable_backend` had not
   * let it hear of the end, and `virtio_serial_open` does not undo that).
   */
  agentStreamIsTaken(): Promise<void>;
  /** Whether its guest runs, as the VMM has it. */
  runs(): Promise<boolean>;
  /** Makes a capture ready; the machine runs on. @throws `unsupported` on a host that shows no memory of processes */
  prepareCapture(request: CaptureRequest): Promise<Capture>;
  /** Ends the copying for a capture that is nobody's any more, and lets go of the files. */
  endCopies(): Promise<void>;
  /** Writes the device state beside the memory file of a paused, booted machine. */
  store(options?: { signal?: AbortSignal }): Promise<void>;
  /** From now on its disks serve no more, all of them together; for a machine that was loaded as `limitable`. */
  limitDisks(limits: DiskLimits): Promise<void>;
  /** Ends the VM and its process at once. Resolves when it is gone. */
  kill(): Promise<void>;
  statistics(): Promise<MachineStatistics>;
  /** The last 64 KiB of the guest's console. Empty once the VM is gone, but for what `exited` told. */
  console(): Promise<string>;
  detach(): void;
}

/** What a stored state depends on beside the guest's files; goes into a template's key. */
export interface VmmIdentity {
  vmm: string;
  version: string;
  /** Hash of the VMM's binary and of the fixed part of its arguments. */
  fingerprint: string;
  accelerator: string;
  cpuModel: string;
}

/** Makes machines. */
export interface Vmm {
  /** Decides on the accelerator (once; may take seconds the first time on a host) and tells what states depend on. */
  identify(options?: { signal?: AbortSignal }): Promise<VmmIdentity>;
  boot(request: BootRequest, options?: { signal?: AbortSignal }): Promise<Machine>;
  load(request: LoadRequest, options?: { signal?: AbortSignal }): Promise<Machine>;
  /** Takes over a machine that another process started; `undefined` if it is gone. */
  adopt(record: MachineRecord): Promise<Machine | undefined>;
}
