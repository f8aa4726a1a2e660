import { existsSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { basename, join } from "node:path";
import { zstdDecompressSync } from "node:zlib";
import { BuildError, command } from "./command.ts";

export interface KernelModule {
  name: string;
  content: Buffer;
}

/**
 * The wanted modules and what they depend on, decompressed, in an order in which each can be inserted.
 * A wanted module that is built into the kernel needs no file and is left out; so is one that is there already.
 */
export function resolveModules(
  unpackedPackage: string,
  wanted: string[],
  there: KernelModule[] = [],
): KernelModule[] {
  const folder = moduleFolder(unpackedPackage);
  const builtIn = new Set(readFileSync(join(folder, "modules.builtin"), "utf8").split("\n").map(moduleName));
  for (const { name } of there) builtIn.add(name);
  const dependencies = readDependencies(folder);
  const ordered = new Map<string, KernelModule>();

  const add = (name: string): void => {
    if (builtIn.has(name) || ordered.has(name)) return;
    const found = dependencies.get(name);
    if (!found) throw new BuildError(`the kernel package has no module "${name}"`);
    // modules.dep lists what must be there nearest first; the farthest one goes in first.
    for (const path of found.needs.toReversed()) add(moduleName(path));
    ordered.set(name, { name, content: withoutSignature(readModule(join(folder, found.path))) });
  };
  wanted.forEach(add);
  return [...ordered.values()];
}

/** Debian 12 keeps modules under /lib, Debian 13 under /usr/lib; depmod looks for them under /lib. */
function moduleFolder(unpackedPackage: string): string {
  const lib = join(unpackedPackage, "lib");
  if (!existsSync(lib)) symlinkSync("usr/lib", lib);
  const releases = readdirSync(join(lib, "modules"));
  const release = releases[0];
  if (releases.length !== 1 || !release) {
    throw new BuildError("the kernel package does not hold the modules of exactly one kernel");
  }
  // modules.dep is made when the package is installed, which this one never is.
  command("depmod", ["--basedir", unpackedPackage, release]);
  return join(lib, "modules", release);
}

function readDependencies(folder: string): Map<string, { path: string; needs: string[] }> {
  const lines = readFileSync(join(folder, "modules.dep"), "utf8").split("\n").filter(Boolean);
  return new Map(
    lines.map((line) => {
      const [path = "", needs = ""] = line.split(":");
      return [moduleName(path), { path, needs: needs.split(" ").filter(Boolean) }];
    }),
  );
}

/** The kernel takes - and _ in a module's name for the same. */
function moduleName(path: string): string {
  return basename(path)
    .replace(/\.ko(\.\w+)?$/, "")
    .replaceAll("-", "_");
}

function readModule(path: string): Buffer {
  if (path.endsWith(".xz")) return command("xz", ["-dc", path]);
  if (path.endsWith(".zst")) return zstdDecompressSync(readFileSync(path));
  return readFileSync(path);
}

const SIGNATURE_MARK = Buffer.from("~Module signature appended~\n");
const SIGNATURE_INFO_LENGTH = 12;

/**
 * Without Debian's signature, which the kernel would verify with RSA on every cold boot. It protects a
 * machine's modules from its own root; here they come in the kernel's own initramfs.
 */
function withoutSignature(module: Buffer): Buffer {
  const info = module.length - SIGNATURE_MARK.length - SIGNATURE_INFO_LENGTH;
  if (!module.subarray(info + SIGNATURE_INFO_LENGTH).equals(SIGNATURE_MARK)) return module;
  const signatureLength = module.readUInt32BE(info + SIGNATURE_INFO_LENGTH - 4);
  return module.subarray(0, info - signatureLength);
}
