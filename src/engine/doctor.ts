import { getServers } from "node:dns";
import { access, constants, statfs } from "node:fs/promises";
import { cpus, networkInterfaces, totalmem } from "node:os";
import { delimiter, join } from "node:path";
import { type Check, SandboxError } from "../contract/index.ts";
import type { ImageStore } from "./image/index.ts";
import type { MachineRoom } from "./machine-room.ts";
import type { NetworkStackSettings } from "./network/index.ts";
import type { Paths } from "./store/index.ts";

export interface DoctorContext {
  paths: Paths;
  env: NodeJS.ProcessEnv;
  images: ImageStore;
  machineRoom: MachineRoom;
  /** @throws `invalid_argument` if `network.json` is not valid */
  networkSettings(): Pick<NetworkStackSettings, "resolvers" | "proxy">;
}

type Finding = Omit<Check, "name">;

/** A template of the default shape and a few sandboxes. */
const COMFORTABLE_DISK_MIB = 2048;

/** What this host can do, in plain words, and what mends what it cannot. A finding is never an exception. */
export async function doctor(context: DoctorContext): Promise<Check[]> {
  const checks: [string, () => Promise<Finding>][] = [
    ["host", host],
    ["qemu", () => qemu(context)],
    ["bubblewrap", () => bubblewrap(context)],
    ["boot assets", () => bootAssets(context)],
    ["accelerator", () => accelerator(context)],
    ["jail", () => jail(context)],
    ["home", () => home(context)],
    ["images", () => images(context)],
    ["network", () => network(context)],
  ];
  const results: Check[] = [];
  for (const [name, examine] of checks) results.push({ name, ...(await examine().catch(failed)) });
  return results;
}

async function host(): Promise<Finding> {
  const what = `${process.platform}, ${process.arch}, ${cpus().length} CPUs, ${Math.round(totalmem() / 1024 ** 2)} MiB of memory`;
  if (process.platform === "linux" && process.arch === "x64") return ok(what);
  return { status: "failed", message: `${what}: only Linux on x86-64 is built and tested so far` };
}

async function qemu({ machineRoom }: DoctorContext): Promise<Finding> {
  const { version, path } = await machineRoom.qemu();
  return ok(`QEMU ${version} at ${path}`);
}

async function bubblewrap({ env }: DoctorContext): Promise<Finding> {
  for (const name of ["bwrap", "prlimit", "setpriv"]) {
    if (await inPath(name, env)) continue;
    const pkg = name === "bwrap" ? "bubblewrap" : "util-linux";
    return {
      status: "failed",
      message: `'${name}' is not installed: QEMU cannot be jailed`,
      remedy: `apt-get install ${pkg}`,
    };
  }
  return ok("bubblewrap, prlimit and setpriv are there");
}

async function bootAssets({ machineRoom }: DoctorContext): Promise<Finding> {
  const { assets } = await machineRoom.machines();
  return ok(`kernel and agent ${assets.hash.slice(0, 12)}`);
}

async function accelerator({ machineRoom }: DoctorContext): Promise<Finding> {
  const { vmm } = await machineRoom.machines();
  const { accelerator, reason } = await vmm.accelerator();
  if (accelerator !== "tcg") return ok(`${accelerator}${reason ? ` (${reason})` : ""}`);
  return ok(
    `software emulation (tcg): it works everywhere; computing is 5 to 20 times slower. Why not faster: ${reason || "nothing else to try"}`,
  );
}

async function jail({ machineRoom, env }: DoctorContext): Promise<Finding> {
  const { vmm } = await machineRoom.machines();
  const obstacle = await vmm.whatKeepsTheJail();
  const renounced = env.MSB_JAIL_WITHOUT;
  if (obstacle !== undefined) {
    return {
      status: "failed",
      message: `QEMU cannot be jailed: ${obstacle}`,
      remedy:
        "Allow unprivileged user namespaces (Ubuntu 24.04: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0), or run the daemon as root",
    };
  }
  if (renounced) {
    return {
      status: "warning",
      message: `MSB_JAIL_WITHOUT renounces: ${renounced}`,
      remedy: "unset MSB_JAIL_WITHOUT",
    };
  }
  const uid = process.getuid?.() === 0 ? ", a uid of its own" : "";
  return ok(
    `no network, an empty file system, own pid, ipc and uts namespaces, no capabilities, seccomp${uid}`,
  );
}

async function home({ paths }: DoctorContext): Promise<Finding> {
  await access(paths.home, constants.W_OK);
  const { bavail, bsize } = await statfs(paths.home);
  const free = Math.floor((bavail * bsize) / 1024 ** 2);
  if (free >= COMFORTABLE_DISK_MIB) return ok(`${paths.home}, ${free} MiB free`);
  return {
    status: "warning",
    message: `${paths.home} has only ${free} MiB free`,
    remedy: "Free some space, or set MSB_HOME to another disk",
  };
}

async function images({ images: store }: DoctorContext): Promise<Finding> {
  const names = (await store.list()).flatMap((image) => image.names);
  if (names.length > 0) return ok(names.join(", "));
  return {
    status: "warning",
    message: "there are no images yet",
    remedy: "./quickstart in a checkout, or: msb import ROOTFS.tar NAME",
  };
}

/** Of what sandboxes reach through this host; whether anybody answers there is not asked. */
async function network({ env, networkSettings }: DoctorContext): Promise<Finding> {
  if (env.MSB_NETWORK === "unattached")
    return { status: "warning", message: "MSB_NETWORK leaves the sandboxes' links to somebody else" };
  const { resolvers = getServers(), proxy } = networkSettings();
  const outward = Object.values(networkInterfaces())
    .flatMap((addresses = []) => addresses)
    .filter(({ internal, address }) => !internal && !address.startsWith("fe80:"));
  const families = ["IPv4", "IPv6"].filter((family) => outward.some((each) => each.family === family));
  if (families.length === 0) {
    return {
      status: "warning",
      message: "this host has no network: sandboxes reach the host and each other, as their rules say",
    };
  }
  if (resolvers.length === 0) {
    return {
      status: "warning",
      message: `${families.join(" and ")}, and nobody to ask for names`,
      remedy: `Name a resolver in /etc/resolv.conf, or as \`resolvers\` in network.json`,
    };
  }
  return ok(
    `${families.join(" and ")}, names by the host's resolvers${proxy === undefined ? "" : ", through a proxy"}`,
  );
}

function ok(message: string): Finding {
  return { status: "ok", message };
}

function failed(error: unknown): Finding {
  const { message, hint } = SandboxError.from(error);
  return { status: "failed", message, ...(hint === undefined ? {} : { remedy: hint }) };
}

async function inPath(name: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  for (const directory of (env.PATH ?? "").split(delimiter).filter(Boolean)) {
    const found = await access(join(directory, name), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
}
