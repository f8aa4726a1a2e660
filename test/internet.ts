import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Certificates, makeCertificates } from "./internet/certificates.ts";
import type { ServerSettings } from "./internet/settings.ts";
import { firstOutput, until } from "./sandbox-driver.ts";

/**
 * An internet of two network namespaces, which this makes itself: in one is the daemon, in the other are the servers of
 * `internet/main.ts`, on public addresses, on private ones and on that of a cloud's metadata. Needs root and the host's `unshare`, `nsenter`, `ip`
 * and openssl.
 */

export const PUBLIC_ADDRESS = "93.184.216.34";
export const OTHER_PUBLIC_ADDRESS = "93.184.216.35";
export const PUBLIC_ADDRESS_6 = "2606:2800:220:1:248:1893:25c8:1946";
/** Of the server again, as no public one. The name server has this address too. */
export const PRIVATE_ADDRESS = "10.99.0.1";
export const PRIVATE_ADDRESS_6 = "fd99::1";
export const METADATA_ADDRESS = "169.254.169.254";

/** Names that the name server knows, and the server's certificate is for. */
const NAMES = ["www.example", "files.example", "other.example", "lan.example"];
const ZONE = [
  ...["www.example", "files.example"].flatMap((name) => [
    `${name} 60 A ${PUBLIC_ADDRESS}`,
    `${name} 60 AAAA ${PUBLIC_ADDRESS_6}`,
  ]),
  `other.example 60 A ${OTHER_PUBLIC_ADDRESS}`,
  `lan.example 60 A ${PRIVATE_ADDRESS}`,
  // More than an answer over UDP holds.
  ...Array.from({ length: 60 }, (_, i) => `many.example 60 A 93.184.217.${i + 1}`),
];
const PROGRAM = fileURLToPath(new URL("../src/server/main.ts", import.meta.url));
const SERVERS = fileURLToPath(new URL("internet/main.ts", import.meta.url));
const NODE = [process.execPath, "--disable-warning=ExperimentalWarning"];

export class Internet implements AsyncDisposable {
  /** Of the host: what the web server gives is in it, put there at any time. */
  readonly folder: string;
  readonly #children: ChildProcess[] = [];
  #host = 0;
  #outside = 0;
  #certificates: Certificates | undefined;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async open(): Promise<Internet> {
    const internet = new Internet(await mkdtemp(join(tmpdir(), "msb-internet-")));
    try {
      await internet.#open();
      return internet;
    } catch (error) {
      await internet[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A PEM file: whoever trusts it takes the server for all of its names. */
  get authority(): string {
    return this.#certificates!.authority;
  }

  /** Runs a program beside the servers, until this is closed. @returns once it has written something */
  async serve(argv: readonly string[]): Promise<void> {
    const server = spawn("nsenter", within(this.#outside, argv));
    this.#children.push(server);
    await firstOutput(server);
  }

  /** Starts a daemon for this home that has this internet and no other network, and asks its name server. */
  async startDaemon(home: string, isUp: () => Promise<boolean>): Promise<void> {
    await writeFile(join(home, "network.json"), JSON.stringify({ resolvers: [PRIVATE_ADDRESS] }));
    const env = { ...process.env, MSB_HOME: home };
    this.#children.push(spawn("nsenter", within(this.#host, [...NODE, PROGRAM]), { env, stdio: "ignore" }));
    await until(isUp, "the daemon serves");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await rm(this.folder, { recursive: true, force: true });
  }

  async #open(): Promise<void> {
    this.#host = await this.#namespace();
    const outside = await this.#namespace();
    this.#outside = outside;
    await inside(this.#host, `ip link set lo up; ip link add out type veth peer name back netns ${outside}`);
    const own = [
      `${PUBLIC_ADDRESS}/32`,
      `${OTHER_PUBLIC_ADDRESS}/32`,
      `${PUBLIC_ADDRESS_6}/128`,
      `${METADATA_ADDRESS}/32`,
    ];
    await inside(
      outside,
      `ip link set lo up; ${own.map((address) => `ip addr add ${address} dev lo`).join("; ")}`,
    );
    // Without the detection of duplicates, IPv6 would not be there for a second.
    await inside(
      outside,
      `ip addr add ${PRIVATE_ADDRESS}/24 dev back; ip addr add ${PRIVATE_ADDRESS_6}/64 dev back nodad; ip link set back up`,
    );
    await inside(
      this.#host,
      `ip addr add 10.99.0.2/24 dev out; ip addr add fd99::2/64 dev out nodad; ip link set out up;
       ip route add default via ${PRIVATE_ADDRESS}; ip route add default via ${PRIVATE_ADDRESS_6}`,
    );
    const pki = await mkdtemp(join(this.folder, ".pki-"));
    const addresses = [PUBLIC_ADDRESS, PUBLIC_ADDRESS_6];
    this.#certificates = await makeCertificates(pki, NAMES, addresses);
    const settings: ServerSettings = { ...this.#certificates, folder: this.folder, zone: ZONE };
    await this.serve([...NODE, SERVERS, JSON.stringify(settings)]);
  }

  /** @returns the pid of a process in it, for as long as this is open */
  async #namespace(): Promise<number> {
    const holder = spawn("unshare", ["--net", "sh", "-c", "echo ready; exec sleep 1000000"]);
    this.#children.push(holder);
    await firstOutput(holder);
    return holder.pid!;
  }
}

const within = (pid: number, argv: readonly string[]): string[] => [`--net=/proc/${pid}/ns/net`, ...argv];

async function inside(pid: number, script: string): Promise<void> {
  await promisify(execFile)("nsenter", within(pid, ["sh", "-ec", script]));
}
