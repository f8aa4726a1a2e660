import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createQcow2 } from "../src/engine/disk/index.ts";
import { type AgentConnection, connectAgent } from "../src/engine/guest/index.ts";
import { loadArguments } from "../src/engine/machine/qemu/arguments.ts";
import { Qmp } from "../src/engine/machine/qemu/qmp.ts";
import { STORED_INTERFACE } from "../src/engine/sandbox/network.ts";
import { SHAPE, type Workbench } from "./workbench.ts";

/**
 * The floor: a bare QEMU with the same arguments loads the same template and runs one command over the raw agent protocol,
 * without daemon, API or jail. What a sandbox costs above this is ours to answer for.
 */
export interface Floor {
  agent: AgentConnection;
  pid: number;
  end(): Promise<void>;
}

const DISK_BYTES = 4096 * 1024 ** 2;

export interface FloorOptions {
  /** QEMU's `-netdev` for the interface, whose id is `net0`. Default: no interface. */
  network?: string;
}

export async function startFloor(bench: Workbench, { network }: FloorOptions = {}): Promise<Floor> {
  const files = await bench.files({ network: network !== undefined });
  const directory = join(bench.home, "run", `f${randomBytes(3).toString("hex")}`);
  await mkdir(directory);
  await createQcow2(join(directory, "upper.qcow2"), { virtualSizeBytes: DISK_BYTES });
  const paths = {
    qmpSocket: join(directory, "qmp"),
    agentSocket: join(directory, "agent"),
    networkSocket: join(directory, "net"),
  };
  const args = loadArguments({
    accelerator: "tcg",
    shape: network === undefined ? SHAPE : { ...SHAPE, network: STORED_INTERFACE },
    paths,
    seccomp: true,
    memoryFile: join(files.template, "memory"),
    rootDescriptor: join(files.rootDisk, "root.vmdk"),
    upper: {
      overlay: join(directory, "upper.qcow2"),
      backing: [join(files.template, "upper.qcow2"), files.blank],
    },
    volumes: [],
  });
  if (network !== undefined) args[args.indexOf("-netdev") + 1] = network;
  // In a session of its own, as a sandbox's is: Linux shares a busy machine out by sessions (sched_autogroup).
  const child = spawn("qemu-system-x86_64", args, { stdio: "inherit", detached: true });
  const loading = load(paths.qmpSocket, join(files.template, "state"));
  const agent = await whenThere(() =>
    connectAgent(paths.agentSocket, {
      filler: false,
      timeoutMs: 20_000,
      setup: {
        identity: {
          entropy: randomBytes(64),
          timeNs: BigInt(Date.now()) * 1_000_000n,
          hostname: "floor",
          machineId: randomBytes(16).toString("hex"),
        },
        upper: "fresh",
        upperSizeBytes: DISK_BYTES,
      },
    }),
  );
  const qmp = await loading;
  return {
    agent,
    pid: child.pid!,
    async end() {
      agent.close();
      qmp.close();
      await killed(child);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Runs one command and waits for its end, as the agent tells it. */
export async function runRaw(agent: AgentConnection, channel: number, argv: string[]): Promise<void> {
  const process = await agent.start(channel, { argv, env: { PATH: "/bin:/usr/bin" } });
  process.onOutput(() => {});
  await process.exited;
  process.release();
}

async function load(socket: string, state: string): Promise<Qmp> {
  const qmp = await whenThere(() => Qmp.connect(socket));
  const capabilities = [{ capability: "x-ignore-shared", state: true }];
  await Promise.all([
    qmp.execute("qmp_capabilities"),
    qmp.execute("migrate-set-capabilities", { capabilities }),
    qmp.execute("migrate-incoming", { uri: `file:${state}` }),
  ]);
  return qmp;
}

async function whenThere<T>(attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const code =
        (error as NodeJS.ErrnoException).code ?? ((error as Error).cause as NodeJS.ErrnoException)?.code;
      if (code !== "ENOENT" && code !== "ECONNREFUSED" && code !== "unavailable") throw error;
      await sleep(1);
    }
  }
}

async function killed(child: ChildProcess): Promise<void> {
  await new Promise((resolve) => {
    child.once("exit", resolve);
    child.kill("SIGKILL");
  });
}
