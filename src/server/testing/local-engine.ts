import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Event,
  type ExecSpec,
  type LogRecord,
  SandboxError,
  type SandboxInfo,
  type SandboxSpec,
  shownFiles,
  type TemplateInfo,
  VERSION,
} from "../../contract/index.ts";
import type { Engine, OperationContext } from "../../engine/index.ts";
import { localFiles } from "./local-files.ts";
import { LocalImages } from "./local-images.ts";
import { localMetrics } from "./local-metrics.ts";
import { localPools } from "./local-pools.ts";
import { LocalProcess } from "./local-process.ts";
import { LocalProcesses } from "./local-processes.ts";
import { localSnapshots, numbered } from "./local-snapshots.ts";
import { localVolumes } from "./local-volumes.ts";

/**
 * An engine without VMs, for tests of the server, the SDK and the CLI: its sandboxes are entries in a map and their processes run on this
 * machine. Image `test/slow` takes longer than half a second and tells of its progress; `test/nothing` has no command.
 */
export function openLocalEngine(home: string): Engine {
  const sandboxes = new Map<string, LocalSandbox>();
  const images = new LocalImages((name) =>
    [...sandboxes.values()].flatMap(({ info }) => (info.image === name ? [info.name] : [])),
  );
  const templates = new Map<string, TemplateInfo>();
  const events: Event[] = [];
  const changed = new EventTarget();
  const emit = (type: string, sandbox?: string) => {
    events.push({
      seq: events.length + 1,
      time: new Date().toISOString(),
      type,
      ...(sandbox ? { sandbox } : {}),
    });
    changed.dispatchEvent(new globalThis.Event("event"));
  };
  const find = (ref: string): LocalSandbox => {
    const found = sandboxes.get(ref) ?? [...sandboxes.values()].find(({ info }) => info.name === ref);
    if (found) return found;
    throw new SandboxError("not_found", `there is no sandbox ${ref}`, { hint: "msb ls shows all" });
  };
  const exec = async (sandbox: LocalSandbox, spec: ExecSpec): Promise<LocalProcess> => {
    const process = await LocalProcess.start(sandbox.processes.size + 1, spec, sandbox.info.spec.env);
    sandbox.processes.add(process);
    const { onOutput } = process;
    process.onOutput = (listener) =>
      onOutput.call(process, (stream, chunk) => {
        const time = new Date().toISOString();
        sandbox.log.push({ time, process: process.process, stream, text: chunk.toString() });
        return listener(stream, chunk);
      });
    return process;
  };
  const add = (spec: SandboxSpec, imageDigest: string): SandboxInfo => {
    if (spec.name && [...sandboxes.values()].some(({ info }) => info.name === spec.name)) {
      throw new SandboxError("already_exists", `there is a sandbox named ${spec.name} already`);
    }
    const info = sandboxInfo(spec, imageDigest);
    const kept = new LocalProcesses((wanted) => exec(running(info.id), wanted));
    sandboxes.set(info.id, { info, processes: new Set(), kept, log: [] });
    emit("sandbox.running", info.id);
    return info;
  };
  const copy = ({ spec, imageDigest }: SandboxInfo, name: string | undefined) =>
    add({ ...spec, name, files: [] }, imageDigest);
  const running = (ref: string): LocalSandbox => {
    const found = find(ref);
    if (found.info.state === "running") return found;
    throw new SandboxError("invalid_state", `sandbox ${found.info.name} is ${found.info.state}`, {
      hint: `msb start ${found.info.name}`,
    });
  };
  const stop = (sandbox: LocalSandbox): SandboxInfo => {
    for (const process of sandbox.processes) process.signal("KILL");
    sandbox.info.state = "stopped";
    sandbox.info.stoppedAt = new Date().toISOString();
    emit("sandbox.stopped", sandbox.info.id);
    return sandbox.info;
  };

  return {
    home,
    sandboxes: {
      processes: (ref) => running(ref).kept,
      network() {
        throw new SandboxError("unsupported", "a sandbox without a VM has no network");
      },
      async create(spec, context) {
        await images.ensure(spec.image, spec.pull, context ?? {});
        if (spec.image === "test/slow") await slowly(context);
        return add(spec, (await images.inspect(spec.image)).digest);
      },
      get: (ref) => find(ref).info,
      list: ({ states, labels } = {}) =>
        [...sandboxes.values()]
          .map(({ info }) => info)
          .filter(({ state }) => states?.includes(state) ?? true)
          .filter(({ spec }) =>
            Object.entries(labels ?? {}).every(([key, value]) => spec.labels[key] === value),
          ),
      async start(ref) {
        const { info } = find(ref);
        if (info.state === "running") {
          throw new SandboxError("invalid_state", `sandbox ${info.name} runs already`);
        }
        info.state = "running";
        return info;
      },
      async pause(ref) {
        const { info } = running(ref);
        info.state = "paused";
        return info;
      },
      async resume(ref) {
        const { info } = find(ref);
        if (info.state !== "paused" && info.state !== "suspended")
          throw new SandboxError("invalid_state", `sandbox ${info.name} is ${info.state}`);
        info.state = "running";
        return info;
      },
      async suspend(ref) {
        const { info } = running(ref);
        info.state = "suspended";
        return info;
      },
      async fork(ref, { name, count }) {
        const { info } = running(ref);
        return numbered(name, count).map((each) => copy(info, each));
      },
      begin: async (ref) => running(ref).info,
      stop: async (ref) => stop(running(ref)),
      kill: async (ref) => stop(running(ref)),
      async remove(ref, options) {
        const found = find(ref);
        if (found.info.state === "running") {
          if (!options?.force) {
            throw new SandboxError("invalid_state", `sandbox ${found.info.name} runs`, {
              hint: `msb rm --force ${found.info.name}`,
            });
          }
          stop(found);
        }
        sandboxes.delete(found.info.id);
        emit("sandbox.removed", found.info.id);
      },
      exec: (ref, spec) => exec(running(ref), spec),
      files: (ref) => localFiles(running(ref).info.name),
      commandOf(ref, argv) {
        const { spec } = find(ref).info;
        const command = argv ?? spec.command ?? (spec.image === "test/nothing" ? [] : ["echo", "default"]);
        return [...(spec.entrypoint ?? []), ...command];
      },
      metrics: async (ref) => localMetrics(running(ref).info.id, find(ref).info.name),
      allMetrics: async () =>
        [...sandboxes.values()]
          .filter(({ info }) => info.state === "running")
          .map(({ info }) => localMetrics(info.id, info.name)),
      async *logs(ref, { follow, tail, signal } = {}) {
        const { log, info } = find(ref);
        let at = tail === undefined ? 0 : Math.max(0, log.length - tail);
        for (;;) {
          for (; at < log.length; at++) yield log[at]!;
          if (!follow || signal?.aborted || !sandboxes.has(info.id)) return;
          await sleep(10);
        }
      },
      async export(ref) {
        const { image } = running(ref).info;
        return images.export(image);
      },
      console: async (ref, maxBytes) => `console of ${find(ref).info.name}\n`.slice(-(maxBytes ?? 65536)),
      runningCount: () => [...sandboxes.values()].filter(({ info }) => info.state === "running").length,
    },
    snapshots: localSnapshots({ find: (ref) => find(ref).info, copy }),
    images,
    templates: {
      list: async () => [...templates.values()],
      async build(shape, context) {
        if (shape.memoryMiB === 512) await slowly(context);
        const key = `t${shape.cpus}x${shape.memoryMiB}`;
        const info: TemplateInfo = {
          key,
          shape,
          accelerator: "none",
          qemuVersion: "0",
          createdAt: new Date().toISOString(),
          memoryBytes: 1,
          stateBytes: 1,
          buildMs: 1,
          usable: true,
        };
        templates.set(key, info);
        return info;
      },
      async remove(key) {
        if (!templates.delete(key)) throw new SandboxError("not_found", `there is no template ${key}`);
      },
    },
    volumes: localVolumes((volume) =>
      [...sandboxes.values()].flatMap(({ info: { id, name, state, spec } }) =>
        spec.mounts.flatMap((mount) =>
          mount.type === "volume" && mount.name === volume
            ? [{ id, name, state, readOnly: mount.readOnly }]
            : [],
        ),
      ),
    ),
    pools: localPools((image) => images.inspect(image)),
    events: {
      async *subscribe({ since, signal } = {}) {
        let at = since ?? events.length;
        while (!signal?.aborted) {
          for (; at < events.length; at++) yield events[at]!;
          await once(changed, "event", signal ? { signal } : {});
        }
      },
    },
    doctor: async () => [
      { name: "node", status: "ok", message: `Node ${process.version}` },
      {
        name: "accelerator",
        status: "warning",
        message: "no hardware virtualization",
        remedy: "nothing: emulation is used",
      },
      ...(process.env.MSB_TEST_BROKEN
        ? [
            {
              name: "qemu",
              status: "failed" as const,
              message: "QEMU is missing",
              remedy: "apt install qemu-system-x86",
            },
          ]
        : []),
    ],
    version: async () => ({ version: VERSION, api: "v1", node: process.version }),
    close: async () => {
      for (const { processes } of sandboxes.values()) for (const process of processes) process.signal("KILL");
    },
  };
}

interface LocalSandbox {
  info: SandboxInfo;
  processes: Set<LocalProcess>;
  kept: LocalProcesses;
  log: LogRecord[];
}

function sandboxInfo(spec: SandboxSpec, imageDigest: string): SandboxInfo {
  const id = randomBytes(8).toString("hex");
  const now = new Date().toISOString();
  return {
    id,
    name: spec.name ?? `sandbox-${id.slice(0, 6)}`,
    image: spec.image,
    imageDigest,
    state: "running",
    accelerator: "none",
    createdAt: now,
    startedAt: now,
    spec: { ...spec, files: shownFiles(spec.files) },
    timings: [
      { name: "image", startMs: 0, durationMs: 1.25 },
      { name: "load", startMs: 1.25, durationMs: 2.5 },
    ],
  };
}

async function slowly(context: OperationContext | undefined): Promise<void> {
  for (const fraction of [0, 0.5]) {
    context?.onProgress?.({ task: "building the template", fraction });
    await sleep(400, undefined, context?.signal ? { signal: context.signal } : {});
  }
}
