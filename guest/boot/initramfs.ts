import { type CpioEntry, writeCpio } from "./cpio.ts";
import type { KernelModule } from "./modules.ts";

/**
 * The modules of Debian's cloud kernel that the agent needs before it can see a disk or its host, or stack
 * a root file system. ext4 is built in. What they depend on is found, not listed.
 */
export const MODULES = ["virtio_mmio", "virtio_console", "virtio_blk", "erofs", "overlay", "fuse"];

/**
 * What only a VM with a network interface needs; it is in a folder of its own, and inserted only there. By `tcp_diag` the
 * agent ends the connections of a VM that was loaded from another one's state (INET_DIAG_DESTROY is built in).
 */
export const NETWORK_MODULES = ["virtio_net", "tcp_diag"];

const DIRECTORIES = ["dev", "proc", "sys", "run", "mnt", "newroot", "modules", "modules/network"];

/** The agent as /init, what it needs to stand on, and the modules, named in the order to insert them. */
export function makeInitramfs(
  agent: Uint8Array,
  modules: KernelModule[],
  networkModules: KernelModule[],
): Buffer {
  return writeCpio([
    ...DIRECTORIES.map((path): CpioEntry => ({ kind: "directory", path, mode: 0o755 })),
    // The kernel opens /dev/console for /init before anything is mounted.
    { kind: "character-device", path: "dev/console", mode: 0o600, major: 5, minor: 1 },
    { kind: "character-device", path: "dev/null", mode: 0o666, major: 1, minor: 3 },
    { kind: "file", path: "init", mode: 0o755, content: agent },
    ...modules.map(entryIn("modules")),
    ...networkModules.map(entryIn("modules/network")),
  ]);
}

function entryIn(folder: string) {
  return ({ name, content }: KernelModule, i: number): CpioEntry => ({
    kind: "file",
    path: `${folder}/${String(i).padStart(2, "0")}-${name}.ko`,
    mode: 0o644,
    content,
  });
}
