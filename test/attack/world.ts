import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import { HOST_ADDRESS, NODE, PRIVATE_ADDRESS, type Side, TwoHosts } from "../two-hosts.ts";
import type { Servers } from "./servers.ts";

/**
 * What lies around the sandbox of an attacker: an internet in which every address exists and takes what comes, a host with private and
 * public addresses of its own and servers on its loopback, and a recorder in each of the two. So what gets out is seen where it arrives.
 */

/** Servers that anybody may speak to. */
export const WEB = "93.184.216.34";
export const WEB_6 = "2a00:1450:4001::34";
/** Another one of them. */
export const OTHER = "93.184.216.35";
/** Whom the host asks about names. */
export const NAMES = "93.184.216.53";
/** In the host's network. */
export const LAN = PRIVATE_ADDRESS;
/** The host's own, in its network and as public ones. */
export const HOST_PRIVATE = HOST_ADDRESS;
export const HOST_PUBLIC = "93.184.216.99";
export const HOST_PUBLIC_6 = "2a00:1450:4001::99";
/** A server at all addresses of the host. */
export const HOST_PORT = 7001;
/** Where a datagram comes back from; all attackers may speak to it. */
export const MARK = { address: "93.184.216.36", port: 9999, name: "mark.example" };
/** What must get nowhere, in the payload or the name of what an attacker sends. */
export const LOOT = "loot";

const RECORDER = fileURLToPath(new URL("recorder.py", import.meta.url));
const SERVERS = fileURLToPath(new URL("servers.ts", import.meta.url));
const PUBLIC: ReadonlySet<string> = new Set([WEB, WEB_6, OTHER, NAMES, MARK.address]);

/** A packet that reached the internet or the host itself. */
export interface Arrival {
  protocol: number;
  destination: string;
  /** 0 for protocols without. */
  port: number;
  /** From the transport's header on, one character per byte. */
  payload: string;
}

/** Whether it should not have: to somebody who is nobody's to speak to, or with loot. */
export const isLeak = (arrival: Arrival): boolean =>
  (!PUBLIC.has(arrival.destination) && !isDaemons(arrival)) || arrival.payload.includes(LOOT);

/** The daemon asks its host's resolver for the NAT64 of the network. */
const isDaemons = ({ port, payload }: Arrival): boolean => port === 53 && payload.includes("ipv4only");

export class World implements AsyncDisposable {
  readonly hosts: TwoHosts;
  readonly #recorders: Recorder[] = [];

  private constructor(hosts: TwoHosts) {
    this.hosts = hosts;
  }

  /** @param names the internet's, in the words of zone files */
  static async open(names: string[]): Promise<World> {
    const world = new World(await TwoHosts.open());
    try {
      await world.#open(names);
      return world;
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** What has arrived since the last time, outside and on the host's loopback, where its own addresses are too. */
  async arrivals(): Promise<Arrival[]> {
    const taken = await Promise.all(this.#recorders.map((recorder) => recorder.take()));
    return taken.flat();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { lines } of this.#recorders) lines.close();
    await this.hosts[Symbol.asyncDispose]();
  }

  async #open(lines: string[]): Promise<void> {
    const { hosts } = this;
    // Whatever address a packet is for: here it is at its goal. An address may be answered from if it is in the local table.
    await hosts.run(
      "outside",
      `ip addr add ${WEB}/32 dev lo; ip addr add ${WEB_6}/128 dev lo; ip addr add ${OTHER}/32 dev lo; ip addr add ${NAMES}/32 dev lo; ip addr add ${MARK.address}/32 dev lo
       ip rule add pref 1 iif back lookup local; ip rule add pref 2 lookup main; ip rule add pref 3 lookup local
       ip rule del pref 0; ip route add local 0.0.0.0/0 dev lo table local
       ip -6 rule add iif back lookup 100; ip -6 route add local ::/0 dev lo table 100`,
    );
    await hosts.run(
      "host",
      `ip addr add ${HOST_PUBLIC}/32 dev lo; ip -6 addr add ${HOST_PUBLIC_6}/128 dev lo`,
    );
    await this.#serve("outside", {
      web: 80,
      sinks: [22, 443, 7000, HOST_PORT, 8443],
      echo: MARK,
      names: { address: NAMES, lines: [...lines, `${MARK.name} 3600 A ${MARK.address}`] },
    });
    await this.#serve("host", { sinks: [HOST_PORT] });
    for (const [side, link] of [
      ["outside", "back"],
      ["host", "lo"],
    ] as const) {
      this.#recorders.push(new Recorder(await hosts.start(side, ["python3", RECORDER, link])));
    }
  }

  async #serve(side: Side, servers: Servers): Promise<void> {
    await this.hosts.start(side, [...NODE, SERVERS, JSON.stringify(servers)]);
  }
}

class Recorder {
  readonly lines: Interface;
  readonly #process: ChildProcess;

  constructor(process: ChildProcess) {
    this.#process = process;
    this.lines = createInterface(process.stdout!);
  }

  async take(): Promise<Arrival[]> {
    const line = once(this.lines, "line", { signal: AbortSignal.timeout(30_000) });
    this.#process.stdin!.write("\n");
    return JSON.parse(String((await line)[0]));
  }
}
