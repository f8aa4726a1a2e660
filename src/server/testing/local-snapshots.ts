import { randomBytes } from "node:crypto";
import type { Readable } from "node:stream";
import { restoredSpec, SandboxError, type SandboxInfo, type SnapshotInfo } from "../../contract/index.ts";
import type { Snapshots } from "../../engine/index.ts";

/** What snapshots without VMs are made of. */
export interface SnapshotSource {
  find(ref: string): SandboxInfo;
  /** Adds a running sandbox that is a copy of one. */
  copy(of: SandboxInfo, name: string | undefined): SandboxInfo;
}

/**
 * Snapshots of the engine without VMs: each is a copy of a sandbox's entry. An exported one is JSON; with a passphrase that stands before
 * it. One that is named `broken` is damaged.
 */
export function localSnapshots({ find, copy }: SnapshotSource): Snapshots {
  const snapshots = new Map<string, { info: SnapshotInfo; of: SandboxInfo }>();
  const stored = (ref: string) => {
    const found = [...snapshots.values()].find(({ info }) => info.name === ref || info.id === ref);
    if (found !== undefined) return found;
    throw new SandboxError("not_found", `there is no snapshot '${ref}'`);
  };
  const add = (info: SnapshotInfo, of: SandboxInfo, replaces?: string): SnapshotInfo => {
    const old = [...snapshots.values()].find((other) => other.info.name === info.name);
    if (old !== undefined && old.info.id !== replaces)
      throw new SandboxError("already_exists", `there is a snapshot '${info.name}' already`);
    if (old !== undefined) snapshots.delete(old.info.id);
    snapshots.set(info.id, { info, of: structuredClone(of) });
    return info;
  };
  const whole = (info: SnapshotInfo): SnapshotInfo => {
    if (info.name !== "broken") return info;
    throw new SandboxError("internal", "snapshot 'broken' is damaged: delta/0.pages is not what was stored");
  };
  return {
    async create(ref, { name, volumes, prepared, replaces }) {
      const sandbox = find(ref);
      const held = sandbox.spec.mounts.flatMap((mount) => (mount.type === "volume" ? [mount.name] : []));
      if (held.length > 0 && volumes === "refuse")
        throw new SandboxError(
          "invalid_state",
          `sandbox '${sandbox.name}' may write to volume '${held[0]}'`,
          {
            hint: "Store copies of its volumes too: --volumes copy",
          },
        );
      const info: SnapshotInfo = {
        id: randomBytes(6).toString("hex"),
        name: name ?? `${sandbox.name}-${snapshots.size + 1}`,
        createdAt: new Date().toISOString(),
        kind: sandbox.state === "stopped" ? "stopped" : "running",
        sandbox: { id: sandbox.id, name: sandbox.name },
        image: sandbox.image,
        imageDigest: sandbox.imageDigest,
        generation: 0,
        cpus: sandbox.spec.cpus,
        memoryMiB: sandbox.spec.memoryMiB,
        diskMiB: sandbox.spec.diskMiB,
        accelerator: "none",
        vmm: { name: "none", version: "0" },
        bytes: { memory: 26_214_400, disks: 4096, volumes: held.length * 4096 },
        processes: 2,
        volumes: held,
        ...(prepared && { prepared }),
      };
      return add(info, sandbox, replaces);
    },
    list: async () => [...snapshots.values()].map(({ info }) => info),
    get: async (ref) => whole(stored(ref).info),
    async remove(ref) {
      snapshots.delete(stored(ref).info.id);
    },
    verify: async (ref) => whole(stored(ref).info),
    async restore(ref, { name, count, changes }) {
      const { of } = stored(ref);
      const spec = restoredSpec(of.spec, changes);
      return numbered(name, count).map((each) => copy({ ...of, spec }, each));
    },
    async export(ref, { passphrase } = {}) {
      const bytes = Buffer.from(`${passphrase ?? ""}\n${JSON.stringify(stored(ref))}`);
      return (async function* () {
        yield bytes;
      })();
    },
    async import(file: Readable, { name, passphrase } = {}) {
      const [first = "", json = ""] = Buffer.concat(await file.toArray())
        .toString()
        .split("\n");
      if (json === "") throw new SandboxError("invalid_argument", "this is no exported snapshot");
      if (first !== (passphrase ?? ""))
        throw new SandboxError("unauthenticated", "the passphrase does not open this snapshot");
      const { info, of } = JSON.parse(json) as { info: SnapshotInfo; of: SandboxInfo };
      return add({ ...info, id: randomBytes(6).toString("hex"), name: name ?? info.name }, of);
    },
  };
}

/** The names of so many sandboxes that are asked for by one. */
export function numbered(name: string | undefined, count: number): (string | undefined)[] {
  if (count === 1 || name === undefined) return Array.from({ length: count }, () => name);
  return Array.from({ length: count }, (_, at) => `${name}-${at + 1}`);
}
