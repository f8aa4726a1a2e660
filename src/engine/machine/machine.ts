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
 * fresh file system that the guest had mounted when the state was stored, so it must be an overlay over the state's own
 * `upper.qcow2`. `kept`: the file system of an earlier run, if there is one.
 */
export interface MachineDisks {
  /** Folder with `root.vmdk` and its extents; read-only. */
  rootDirectory: string;
  /** Folder with the overlays `upper.qcow2` and, if `keptDirectory` is given, `kept.qcow2`; all that the machine writes to. */
  writableDirectory: string;
  /** Blank ext4 below the state's `upper.qcow2`; read-only. */
  blankFile: string;
  /** Folder with `upper.qcow2` and `blank.ext4` that `kept.qcow2` is an overlay over; read-only. */
  keptDirectory?: string | undefined;
  /** The first goes into the first of the shape's slots, and so on; the guest knows them as `volume0`, `volume1`, … */
  volumes: VolumeDisk[];
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
  /** Folder with `memory`, `state` and `upper.qcow2`; read-only. */
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

/** A virtual machine that runs. Its life does not depend on this object's: `detach` lets go of it. */
export interface Machine {
  readonly record: MachineRecord;
  /** Unix socket of the guest agent's port. */
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
