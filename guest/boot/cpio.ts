/**
 * A writer for the "newc" cpio format, the one the kernel unpacks as its initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst). Own code because cpio(1) would need
 * root to record device nodes, and would record our inode numbers and times.
 */

export type CpioEntry =
  | { kind: "directory"; path: string; mode: number }
  | { kind: "file"; path: string; mode: number; content: Uint8Array }
  | { kind: "character-device"; path: string; mode: number; major: number; minor: number };

const TYPE_BITS = { directory: 0o040000, file: 0o100000, "character-device": 0o020000 };

/** Entries are owned by root and dated at the epoch; parents must come before their children. */
export function writeCpio(entries: CpioEntry[]): Buffer {
  const parts: Buffer[] = [];
  entries.forEach((entry, i) => {
    parts.push(member(entry, i + 1));
  });
  parts.push(header("TRAILER!!!", { inode: 0, mode: 0, links: 1, size: 0, deviceMajor: 0, deviceMinor: 0 }));
  return Buffer.concat(parts);
}

function member(entry: CpioEntry, inode: number): Buffer {
  const content = entry.kind === "file" ? entry.content : new Uint8Array();
  const device = entry.kind === "character-device" ? entry : { major: 0, minor: 0 };
  const head = header(entry.path, {
    inode,
    mode: TYPE_BITS[entry.kind] | entry.mode,
    links: entry.kind === "directory" ? 2 : 1,
    size: content.length,
    deviceMajor: device.major,
    deviceMinor: device.minor,
  });
  return Buffer.concat([head, padded(content)]);
}

interface HeaderFields {
  inode: number;
  mode: number;
  links: number;
  size: number;
  deviceMajor: number;
  deviceMinor: number;
}

function header(path: string, f: HeaderFields): Buffer {
  const name = Buffer.from(`${path}\0`);
  // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
  const fields = [
    f.inode,
    f.mode,
    0,
    0,
    f.links,
    0,
    f.size,
    0,
    0,
    f.deviceMajor,
    f.deviceMinor,
    name.length,
    0,
  ];
  const hex = fields.map((value) => value.toString(16).padStart(8, "0")).join("");
  return padded(Buffer.concat([Buffer.from(`070701${hex}`), name]));
}

function padded(bytes: Uint8Array): Buffer {
  const rest = (4 - (bytes.length % 4)) % 4;
  return Buffer.concat([bytes, Buffer.alloc(rest)]);
}
