/**
 * The block devices that a VM gets: descriptors that join files into one read-only disk, and writable
 * overlays. This room owns the disk formats. It never starts a process, knows no image and no VM.
 */

export { createQcow2, type Qcow2Info, type Qcow2Options, readQcow2Info } from "./qcow2.ts";
export { mergeQcow2 } from "./qcow2-merge.ts";
export { rawOfQcow2 } from "./qcow2-raw.ts";
export { type DiskDescriptorWriter, type FlatExtent, vmdkDescriptor } from "./vmdk.ts";
