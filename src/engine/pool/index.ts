/**
 * Which VMs wait to be claimed: how many of which image and shape, when another one is made, and who gets one. It owns those that
 * nobody has claimed yet. It never makes or claims one itself: that is the business of the room `sandbox`, above which it stands.
 */
export { Pool, type PoolSource } from "./pool.ts";
export { PoolSettingsFile } from "./settings.ts";
