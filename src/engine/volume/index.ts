/**
 * Named volumes: raw disks with an ext4, each in a folder of its own, and who has them in use. It owns `volumes/`. It starts
 * nothing, mounts nothing, and never reads what a guest has written to a disk: only guests do.
 */
export { copyDisk } from "./copy-disk.ts";
export { type VolumeHolder, VolumeHolds, type VolumeUse } from "./holds.ts";
export { type StoredVolume, VolumeStore } from "./store.ts";
