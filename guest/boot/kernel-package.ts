import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { BuildError, command } from "./command.ts";

export interface KernelPackage {
  package: string;
  version: string;
  sha256: string;
}

const META_PACKAGE = "linux-image-cloud-amd64";

/**
 * The Debian kernel package to build from, downloaded and checked. kernel.lock.json pins one for each
 * Debian release; archives drop superseded versions, so when it is gone the current one takes its place.
 */
export function fetchKernelPackage(lockFile: string, cache: string): { kernel: KernelPackage; file: string } {
  const release = debianRelease();
  const locks = JSON.parse(readFileSync(lockFile, "utf8")) as Record<string, KernelPackage>;
  const pinned = locks[release];
  if (pinned) {
    const file = cachedFile(cache, pinned);
    if (existsSync(file)) return { kernel: verified(pinned, file), file };
    if (isAvailable(pinned)) return { kernel: verified(pinned, download(pinned, file)), file };
  }

  const current = currentKernel();
  console.error(
    pinned
      ? `warning: the archive no longer has ${pinned.package} ${pinned.version}; building with ${current.package} ${current.version}`
      : `warning: no kernel is pinned for Debian "${release}"; building with ${current.package} ${current.version}`,
  );
  const file = cachedFile(cache, current);
  if (!existsSync(file)) download(current, file);
  return { kernel: { ...current, sha256: sha256(file) }, file };
}

function debianRelease(): string {
  const os = readFileSync("/etc/os-release", "utf8");
  return /^VERSION_CODENAME=(.*)$/m.exec(os)?.[1] ?? "unknown";
}

function cachedFile(cache: string, kernel: Omit<KernelPackage, "sha256">): string {
  return join(cache, `${kernel.package}_${kernel.version}.deb`);
}

function isAvailable(kernel: KernelPackage): boolean {
  const known = command("apt-cache", ["madison", kernel.package]).toString();
  return known.split("\n").some((line) => line.split("|")[1]?.trim() === kernel.version);
}

/** What the meta package of this release's own suites (not of backports) depends on. */
function currentKernel(): Omit<KernelPackage, "sha256"> {
  const meta = candidate(META_PACKAGE);
  const shown = command("apt-cache", ["show", `${META_PACKAGE}=${meta}`]).toString();
  const name = /^Depends: (linux-image-\S+)/m.exec(shown)?.[1];
  if (!name) throw new BuildError(`apt does not know what ${META_PACKAGE} depends on; run apt-get update`);
  return { package: name, version: candidate(name) };
}

function candidate(name: string): string {
  const version = /Candidate: (\S+)/.exec(command("apt-cache", ["policy", name]).toString())?.[1];
  if (!version || version === "(none)") {
    throw new BuildError(`apt does not know the package ${name}; run apt-get update`);
  }
  return version;
}

function download(kernel: Omit<KernelPackage, "sha256">, file: string): string {
  mkdirSync(join(file, ".."), { recursive: true });
  const folder = mkdtempSync(`${file}.`);
  try {
    // As root apt would hand the download to its own user, who may not be able to write here.
    const asUs = ["-o", "APT::Sandbox::User=root"];
    command("apt-get", [...asUs, "-q", "download", `${kernel.package}=${kernel.version}`], { cwd: folder });
    const deb = readdirSync(folder).find((name) => name.endsWith(".deb"));
    if (!deb) throw new BuildError(`apt downloaded nothing for ${kernel.package} ${kernel.version}`);
    renameSync(join(folder, deb), file);
  } finally {
    rmSync(folder, { recursive: true });
  }
  return file;
}

function verified(kernel: KernelPackage, file: string): KernelPackage {
  if (sha256(file) !== kernel.sha256) {
    throw new BuildError(`${file} is not the package that kernel.lock.json pins; delete it and try again`);
  }
  return kernel;
}

function sha256(file: string): string {
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}
