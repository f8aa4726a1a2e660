/**
 * Builds what a sandbox boots from into build/guest-linux-x64/: kernel, initramfs, blank disk, manifest.
 * README.md beside this file tells what each is and why. Needs no root.
 *
 *   node guest/boot/build.ts [--agent FILE] [--out FOLDER]
 *
 * --agent takes a ready program for /init instead of compiling guest/agent.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { buildAgent, goVersion } from "./agent.ts";
import { BLANK_DISK_BYTES, makeBlankDisk } from "./blank-disk.ts";
import { BuildError, command } from "./command.ts";
import { MODULES, makeInitramfs, NETWORK_MODULES } from "./initramfs.ts";
import { hashInputs } from "./inputs.ts";
import { fetchKernelPackage } from "./kernel-package.ts";
import { makeManifest } from "./manifest.ts";
import { resolveModules } from "./modules.ts";
import { extractVmlinux } from "./vmlinux.ts";

const RECIPE = import.meta.dirname;
const ROOT = resolve(RECIPE, "../..");
const AGENT_SOURCES = join(ROOT, "guest/agent");
const CACHE = join(ROOT, "build/cache/kernel");

function build(): void {
  const { values } = parseArgs({ options: { agent: { type: "string" }, out: { type: "string" } } });
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new BuildError("boot assets are built on x86-64 Linux only");
  }
  const out = resolve(values.out ?? join(ROOT, "build/guest-linux-x64"));
  const { kernel, file: deb } = fetchKernelPackage(join(RECIPE, "kernel.lock.json"), CACHE);

  const agentFacts = values.agent
    ? [values.agent, hashInputs([], [readFileSync(values.agent, "hex")])]
    : [goVersion()];
  const inputs = hashInputs([RECIPE, AGENT_SOURCES], [kernel.sha256, ...agentFacts]);
  const stamp = `${out}.inputs`;
  if (existsSync(join(out, "manifest.json")) && existsSync(stamp) && readFileSync(stamp, "utf8") === inputs)
    return;

  mkdirSync(join(out, ".."), { recursive: true });
  const work = mkdtempSync(`${out}.`);
  try {
    const made = join(work, "made");
    mkdirSync(made);
    const unpacked = join(work, "kernel");
    command("dpkg-deb", ["-x", deb, unpacked]);
    const agent = values.agent ?? join(work, "agent");
    if (!values.agent) buildAgent(AGENT_SOURCES, agent);

    writeFileSync(join(made, "vmlinux"), extractVmlinux(readKernel(unpacked)));
    const modules = resolveModules(unpacked, MODULES);
    const networkModules = resolveModules(unpacked, NETWORK_MODULES, modules);
    writeFileSync(join(made, "initramfs.cpio"), makeInitramfs(readFileSync(agent), modules, networkModules));
    makeBlankDisk(join(made, "blank.ext4"));
    const manifest = makeManifest({
      folder: made,
      names: readdirSync(made),
      kernel,
      blankDiskBytes: BLANK_DISK_BYTES,
    });
    writeFileSync(join(made, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);

    rmSync(stamp, { force: true });
    rmSync(out, { recursive: true, force: true });
    renameSync(made, out);
    writeFileSync(stamp, inputs);
    console.error(`boot assets ${manifest.hash.slice(0, 12)} built from ${kernel.package} ${kernel.version}`);
  } finally {
    rmSync(work, { recursive: true });
  }
}

function readKernel(unpacked: string): Buffer {
  const boot = join(unpacked, "boot");
  const name = readdirSync(boot).find((entry) => entry.startsWith("vmlinuz-"));
  if (!name) throw new BuildError("the kernel package holds no vmlinuz");
  return readFileSync(join(boot, name));
}

try {
  build();
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  console.error(`boot assets: ${error.message}`);
  process.exitCode = 1;
}
