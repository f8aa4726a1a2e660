/**
 * One virtual machine: the `Machine` interface, and QEMU behind it with its arguments, control channel, accelerators
 * and jail. It owns VMM processes and what they need to run. It never knows what runs inside the guest, nor what a sandbox is.
 */
export type * from "./machine.ts";
export { checkVersion, findQemu, type QemuBinary } from "./qemu/binary.ts";
export { JAIL_PARTS, type JailPart } from "./qemu/jail.ts";
export { type QemuOptions, QemuVmm, renouncedParts } from "./qemu/vmm.ts";
export { endStrays } from "./strays.ts";
