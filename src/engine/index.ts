/**
 * The engine runs sandboxes: it owns VMs, templates, images, disks and what is kept of them on disk. It knows no
 * HTTP and no terminal, and asks no questions.
 */
export type * from "./engine.ts";
export { type EngineOptions, openEngine } from "./open.ts";
