import { JAIL } from "./jail-root.ts";

/**
 * The command that runs QEMU in its jail. Pure: plain data in, an argument vector out.
 *
 * The VMM is not trusted: a guest may own it one day, and QEMU's policy does not call its device code a security
 * boundary under emulation. So: no network, an empty file system but for the machine's own files, its own pid, ipc
 * and uts namespaces, no capabilities, no new privileges, a uid of its own where the daemon is root, resource limits, and QEMU's own
 * seccomp filter (`arguments.ts`). What two sandboxes share is mounted read-only.
 */

/** A part of the jail that a host may lack and its owner may knowingly renounce (`MSB_JAIL_WITHOUT`). */
export const JAIL_PARTS = ["bubblewrap", "seccomp"] as const;
export type JailPart = (typeof JAIL_PARTS)[number];

export interface Mount {
  source: string;
  target: string;
  writable?: boolean;
}

export interface JailOptions {
  root: string;
  mounts: Mount[];
  /** Taken on before QEMU runs; needs root. */
  uid?: number | undefined;
  /** Kept beside `uid`, for /dev/kvm. */
  gid?: number | undefined;
  kvm: boolean;
  /** Largest file that QEMU may write, bytes. */
  maxFileBytes: number;
  /** Bound of QEMU's address space, bytes. */
  maxAddressSpace: number;
  /** Descriptor to which bubblewrap writes the pid of what it started. */
  infoFd: number;
}

/** Argument vector that runs `qemu` (arguments without the program) in the jail. */
export function jailCommand(options: JailOptions, qemu: string[]): string[] {
  return [...limits(options), ...bubblewrap(options), ...dropUid(options), JAIL.qemu, ...qemu];
}

/** Descriptors: sockets, disks and their extents, some of QEMU's own. Processes: one thread a vCPU and QEMU's I/O threads. */
function limits({ maxFileBytes, maxAddressSpace }: JailOptions): string[] {
  return ["prlimit", "--core=0", "--nofile=1024", `--fsize=${maxFileBytes}`, `--as=${maxAddressSpace}`, "--"];
}

function bubblewrap({ root, mounts, uid, kvm, infoFd }: JailOptions): string[] {
  return [
    "bwrap",
    // As root no user namespace is needed, and with one the uid below could not be taken on.
    ...(uid === undefined ? ["--unshare-user", "--disable-userns"] : []),
    ...["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"],
    ...["--as-pid-1", "--new-session", "--clearenv", "--hostname", "vm", "--info-fd", String(infoFd)],
    ...["--ro-bind", root, "/"],
    ...mounts.flatMap((m) => [m.writable ? "--bind" : "--ro-bind", m.source, m.target]),
    ...(kvm ? ["--dev-bind", "/dev/kvm", JAIL.kvm] : []),
    ...["--chdir", "/", "--"],
  ];
}

function dropUid({ uid, gid }: JailOptions): string[] {
  if (uid === undefined) return [];
  return [
    JAIL.setpriv,
    ...[`--reuid=${uid}`, `--regid=${uid}`, gid === undefined ? "--clear-groups" : `--groups=${gid}`],
    ...["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"],
  ];
}
