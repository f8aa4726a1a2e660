import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, copyFile, mkdir, readdir, realpath, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { SandboxError } from "../../../contract/index.ts";
import { exists } from "../../exists.ts";
import { MAX_VOLUME_SLOTS } from "../machine.ts";
import type { QemuBinary } from "./binary.ts";

const run = promisify(execFile);

/**
 * The file system that a jailed QEMU sees: its binary, the libraries it links, its firmware, and empty places to
 * mount on. Copied once per QEMU, so that a start needs one bind mount in place of fifty, and so that what escapes
 * into QEMU finds nothing of the host: no /etc, no /home, no shell.
 */

/** Where the files of one machine appear inside the jail. */
export const JAIL = {
  qemu: "/qemu",
  setpriv: "/setpriv",
  firmware: "/firmware",
  /** Sockets. */
  run: "/run",
  /** Memory and device state. */
  state: "/state",
  boot: "/boot",
  rootDisk: "/disk/root",
  writable: "/disk/writable",
  /** What is below the overlays. */
  upper: "/disk/upper",
  kept: "/disk/kept",
  /** With the slot's number behind it. */
  volume: "/disk/volume",
  kvm: "/dev/kvm",
} as const;

const FIRMWARE = ["qboot.rom", "kvmvapic.bin"];
/** Change it when the layout changes: it is part of the folder's name. */
const LAYOUT = 5;

/**
 * Makes the root under `parent` unless it is there, and returns its path. Written beside and renamed.
 * @throws `not_found` if a file that QEMU needs is missing on this host
 */
export async function prepareJailRoot(parent: string, qemu: QemuBinary): Promise<string> {
  const root = join(
    parent,
    createHash("sha256").update(`${LAYOUT} ${qemu.path} ${qemu.hash}`).digest("hex").slice(0, 16),
  );
  if (await exists(root)) return root;
  const partial = `${root}.partial-${process.pid}`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true, mode: 0o755 });
  try {
    const setpriv = await realpath("/usr/bin/setpriv").catch(() => undefined);
    await copy(qemu.path, join(partial, JAIL.qemu));
    if (setpriv !== undefined) await copy(setpriv, join(partial, JAIL.setpriv));
    const binaries = setpriv === undefined ? [qemu.path] : [qemu.path, setpriv];
    const modules = await acceleratorModules(qemu);
    for (const library of await librariesOf([...binaries, ...modules]))
      await copy(library, join(partial, library));
    for (const module of modules) await copy(module, join(partial, module));
    for (const name of FIRMWARE)
      await copy(await findFirmware(qemu, name), join(partial, JAIL.firmware, name));
    for (const place of [
      JAIL.run,
      JAIL.state,
      JAIL.boot,
      JAIL.rootDisk,
      JAIL.writable,
      JAIL.upper,
      JAIL.kept,
      "/dev",
      "/proc",
      "/tmp",
    ]) {
      await mkdir(join(partial, place), { recursive: true, mode: 0o755 });
    }
    const volumes = Array.from({ length: MAX_VOLUME_SLOTS }, (_, slot) => `${JAIL.volume}${slot}`);
    for (const place of [JAIL.kvm, ...volumes]) await writeFile(join(partial, place), "");
    await rename(partial, root);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    // Somebody else may have been faster: theirs is as good.
    if (await exists(root)) return root;
    throw error;
  }
  return root;
}

/** All shared libraries that the files load, the dynamic loader included, under the names they are asked by. */
async function librariesOf(files: string[]): Promise<Set<string>> {
  const libraries = new Set<string>();
  for (const file of files) {
    // ldd fails on a static binary, which needs nothing.
    const output = await run("ldd", [file], { timeout: 10_000 }).catch(() => ({ stdout: "" }));
    for (const [, path] of output.stdout.matchAll(/(?:=>\s+|^\s*)(\/\S+)\s+\(0x/gm)) libraries.add(path!);
  }
  return libraries;
}

/** Some distributions build accelerators as modules; others do not have the folder at all. */
async function acceleratorModules(qemu: QemuBinary): Promise<string[]> {
  const folders = [
    "/usr/lib/x86_64-linux-gnu/qemu",
    "/usr/lib/aarch64-linux-gnu/qemu",
    "/usr/lib64/qemu",
    "/usr/lib/qemu",
  ];
  const found: string[] = [];
  for (const folder of folders) {
    const names = await readdir(folder).catch(() => []);
    const arch = qemu.path.slice(qemu.path.lastIndexOf("-") + 1);
    found.push(
      ...names.filter((n) => n.startsWith("accel-") && n.includes(arch)).map((n) => join(folder, n)),
    );
  }
  return found;
}

async function findFirmware(qemu: QemuBinary, name: string): Promise<string> {
  for (const directory of qemu.firmwareDirectories) {
    const path = join(directory, name);
    if (await exists(path)) return path;
  }
  // With a firmware folder that lacks this file QEMU starts and the guest stays silent for ever.
  throw new SandboxError(
    "not_found",
    `QEMU's firmware '${name}' is in none of ${qemu.firmwareDirectories.join(", ")}`,
    {
      hint: "On Debian and Ubuntu: apt-get install --reinstall qemu-system-data",
    },
  );
}

async function copy(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true, mode: 0o755 });
  await copyFile(from, to);
  await chmod(to, 0o555);
}
