/**
 * What lies where in the folder of a state.
 *
 *     manifest.json     last, renamed into place; everything below with its size and sum
 *     state             the VMM's device state
 *     base              memory of the template that the chain begins with
 *     delta/0.pages …   what was written to that memory, one level after the other, the last one this state's own
 *     delta/0.runs  …   where those pages belong (delta.ts)
 *     disks/<role>/0 …  files of each writable disk, lowest first, the topmost this state's own
 *     disks/volume<slot>/0  what was written over a volume that is only read, and is not copied
 *     volumes/<slot>    copies of volumes
 *
 * All but what is its own are hard links, so that a state is whole by itself whatever else is removed.
 */

export const MANIFEST_FILE = "manifest.json";
export const STATE_FILE = "state";
export const BASE_FILE = "base";
export const DELTAS = "delta";
export const DISKS = "disks";
export const VOLUMES = "volumes";
/** In the folder that a VMM loads from: base and deltas in one. */
export const MEMORY_FILE = "memory";

/** More levels of memory than this are made one, so that loading costs the same however long the history. */
export const MAX_LEVELS = 4;
/** Files of one disk: a template's, and what sandboxes wrote one after the other, which whoever stores a disk makes one in time. */
export const MAX_DISK_LEVELS = 8;
export const MAX_VOLUMES = 16;
/** Files of a state altogether. */
export const MAX_FILES = 2 + 2 * MAX_LEVELS + 4 * MAX_DISK_LEVELS + MAX_VOLUMES;

const FILE =
  /^(?:state|base|delta\/[0-9]\.(?:pages|runs)|disks\/[a-z][a-z0-9]{0,15}\/(?:0|[1-9][0-9]?)|volumes\/(?:0|[1-9][0-9]?))$/;

/** Whether `path`, relative to the folder, is one of the names above. No such name leads out of the folder. */
export function isStateFile(path: string): boolean {
  return FILE.test(path);
}

export function deltaName(level: number): { runs: string; pages: string } {
  return { runs: `${DELTAS}/${level}.runs`, pages: `${DELTAS}/${level}.pages` };
}

/** 12 hex digits. */
export const STATE_ID = /^[0-9a-f]{12}$/;
