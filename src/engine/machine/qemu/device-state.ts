import { constants } from "node:fs";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { SandboxError } from "../../../contract/index.ts";
import type { Qmp } from "./qmp.ts";

/**
 * The device state of a machine that runs on, made of two streams (QEMU's docs/devel/migration, migration/savevm.c): `xen-save-devices-state`,
 * which is in every build, writes the sections of the devices and nothing of the memory; the stream that the machine was loaded from
 * has in front of them what the memory that does not travel is told by, and behind them their description.
 *
 * Both are bounded; the first one is a guest's word, should it own its VMM, and goes nowhere but to that guest's own descendants.
 */

const SAVED_FILE = "devices";
const MAX_STATE_BYTES = 16 * 1024 * 1024;

const HEADER_BYTES = 8; // "QEVM" and a version
const MAGIC = 0x5145564d;
const CONFIGURATION = 0x07;
const FULL_SECTION = 0x04;
const END = 0x00;
const DESCRIPTION = 0x06;

/**
 * @param origin what the machine was loaded from
 * @param inside the run directory as QEMU sees it
 */
export async function saveDeviceState(
  qmp: Qmp,
  origin: Buffer,
  { runDirectory, inside }: { runDirectory: string; inside: string },
): Promise<Buffer> {
  const file = join(runDirectory, SAVED_FILE);
  try {
    // live=false: the disks stay the machine's, which may go on.
    await qmp.execute("xen-save-devices-state", { filename: `${inside}/${SAVED_FILE}`, live: false });
    return joinDeviceState(origin, await readSaved(file));
  } finally {
    await rm(file, { force: true });
  }
}

/** QEMU may be its guest's, and what it has put there a link to a file of the host, or a pipe. */
async function readSaved(path: string): Promise<Buffer> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const found = await file.stat();
  if (!found.isFile() || found.size > MAX_STATE_BYTES)
    throw unknown("it is no file of a device state's size");
  const bytes = Buffer.alloc(found.size);
  const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
  return bytes.subarray(0, bytesRead);
}

/** The whole stream of these devices. @throws `internal` if one of them is none that we know */
export function joinDeviceState(origin: Buffer, saved: Buffer): Buffer {
  const sections = deviceSections(saved);
  const first = firstSection(sections);
  const at = origin.indexOf(first);
  // The name and version of the first device stand behind a byte and a number.
  const begin = at - 5;
  if (at < 5 || origin[begin] !== FULL_SECTION || origin.indexOf(first, at + 1) >= 0)
    throw unknown("where the devices begin in the state that it was loaded from cannot be told");
  return Buffer.concat([origin.subarray(0, begin), sections, description(origin)]);
}

/** From the first device's to the end. */
function deviceSections(saved: Buffer): Buffer {
  if (saved.length < HEADER_BYTES + 1 || saved.readUInt32BE(0) !== MAGIC)
    throw unknown("it does not begin with a header");
  let at = HEADER_BYTES;
  if (saved[at] === CONFIGURATION && saved.length >= at + 5) at += 5 + saved.readUInt32BE(at + 1);
  if (saved[at] !== FULL_SECTION || saved.at(-1) !== END) throw unknown("it has no sections of devices");
  return saved.subarray(at);
}

/** Length and name of the first device, its instance and its version. */
function firstSection(sections: Buffer): Buffer {
  const end = 6 + (sections[5] ?? 0) + 8;
  if (end > sections.length) throw unknown("its first section is cut off");
  return sections.subarray(5, end);
}

/** JSON behind a byte and its length, at the end of a stream; empty if there is none. */
function description(origin: Buffer): Buffer {
  for (let at = origin.lastIndexOf(DESCRIPTION); at > 0; at = origin.lastIndexOf(DESCRIPTION, at - 1)) {
    if (at + 6 > origin.length || origin[at + 5] !== 0x7b || origin[at - 1] !== END) continue;
    if (origin.readUInt32BE(at + 1) === origin.length - at - 5) return origin.subarray(at);
  }
  return Buffer.alloc(0);
}

function unknown(how: string): SandboxError {
  return new SandboxError("internal", `QEMU's device state cannot be used: ${how}`);
}
