import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import type { AgentConnection } from "../../src/engine/guest/index.ts";
import { LONE_LINK } from "../../src/engine/network/index.ts";
import { type Connection, Daemon, Sandbox } from "../../src/sdk/index.ts";
import { cpuSeconds } from "../cpu-seconds.ts";
import { type Floor, startFloor } from "../floor.ts";
import { IMAGE, type Workbench } from "../workbench.ts";
import { type LoadKind, type LoadPeer, type LoadResult, readLoadResult } from "./load.ts";

/** Guests whose network is measured: the same template and program, once in a sandbox and once behind QEMU's own user network. */
export interface LoadGuest extends AsyncDisposable {
  run(kind: LoadKind, connections: number, amount: number): Promise<LoadResult>;
  /** Used so far: by QEMU, and by the daemon if the guest is a sandbox. */
  cpuSeconds(): Promise<{ vmm: number; daemon: number }>;
}

const PROGRAM = "/net-load";

export async function sandboxGuest(bench: Workbench, peer: LoadPeer): Promise<LoadGuest> {
  const sandbox = await loadSandbox(bench.connection, peer);
  const [vmm] = await bench.vmPids();
  const daemon = await daemonPid(bench.connection);
  return {
    async run(kind, connections, amount) {
      const { stdout, stderr } = await sandbox.exec(PROGRAM, loadArguments(peer, kind, connections, amount));
      return readLoadResult(stdout || stderr);
    },
    cpuSeconds: async () => ({ vmm: await cpuSeconds([vmm!]), daemon: await cpuSeconds([daemon]) }),
    [Symbol.asyncDispose]: () => sandbox.remove({ force: true }),
  };
}

/** A sandbox that has the program and may talk to the peer. */
export async function loadSandbox(connection: Connection, peer: LoadPeer): Promise<Sandbox> {
  const sandbox = await Sandbox.create({
    image: IMAGE,
    connection,
    network: {
      scope: "public",
      rules: [`allow egress host tcp:${peer.port}`],
      limits: { connections: 2048 },
    },
  });
  await sandbox.files.write(PROGRAM, createReadStream(peer.program), { mode: 0o755 });
  return sandbox;
}

/** Arguments of the program in a sandbox. */
export function loadArguments(peer: LoadPeer, kind: string, connections: number, amount: number): string[] {
  return [kind, `${LONE_LINK.host[0]!.text}:${peer.port}`, String(connections), String(amount)];
}

export async function daemonPid(connection: Connection): Promise<number> {
  const health = await Daemon.status({ connection });
  if (health === undefined) throw new Error("no daemon runs");
  return health.pid;
}

/** The stored guest has our addresses and a fixed neighbour, so QEMU's network is given the same; it does not mind the MAC. */
export async function slirpGuest(bench: Workbench, peer: LoadPeer): Promise<LoadGuest> {
  const gateway = LONE_LINK.gateway.addresses[0]!.address.text;
  const network = `user,id=net0,ipv6=off,net=10.209.0.0/24,host=${gateway},dns=10.209.0.3`;
  const floor = await startFloor(bench, { network });
  let channel = 1;
  await install(floor, channel++, peer.program);
  return {
    async run(kind, connections, amount) {
      const argv = [PROGRAM, kind, `${gateway}:${peer.port}`, String(connections), String(amount)];
      return readLoadResult(await outputOf(floor.agent, channel++, argv));
    },
    cpuSeconds: async () => ({ vmm: await cpuSeconds([floor.pid]), daemon: 0 }),
    [Symbol.asyncDispose]: () => floor.end(),
  };
}

async function install(floor: Floor, channel: number, program: string): Promise<void> {
  const script = `cat > ${PROGRAM} && chmod 755 ${PROGRAM}`;
  const complaint = await outputOf(floor.agent, channel, ["sh", "-c", script], await readFile(program));
  if (complaint !== "") throw new Error(complaint);
}

async function outputOf(
  agent: AgentConnection,
  channel: number,
  argv: string[],
  stdin?: Buffer,
): Promise<string> {
  const process = await agent.start(channel, {
    argv,
    env: { PATH: "/bin:/usr/bin" },
    stdin: stdin !== undefined,
  });
  let output = "";
  process.onOutput((stream, offset, chunk) => {
    output += chunk.toString();
    process.ack(stream, offset + chunk.length);
  });
  const step = 256 * 1024;
  for (let at = 0; at < (stdin?.length ?? 0); at += step) await process.write(stdin!.subarray(at, at + step));
  if (stdin !== undefined) process.endStdin();
  await process.exited;
  process.release();
  return output;
}
