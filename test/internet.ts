import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Certificates, makeCertificates } from "./internet/certificates.ts";
import type { ServerSettings } from "./internet/settings.ts";
import { NODE, PRIVATE_ADDRESS, PRIVATE_ADDRESS_6, TwoHosts } from "./two-hosts.ts";

/**
 * An internet of two network namespaces, which this makes itself: in one is the daemon, in the other are the servers of
 * `internet/main.ts`, on public addresses, on private ones and on that of a cloud's metadata. Needs root and the host's `unshare`, `nsenter`, `ip`
 * and openssl.
 */

export const PUBLIC_ADDRESS = "93.184.216.34";
export const OTHER_PUBLIC_ADDRESS = "93.184.216.35";
export const PUBLIC_ADDRESS_6 = "2606:2800:220:1:248:1893:25c8:1946";
/** Of the server again, as no public one. The name server has this address too. */
export { PRIVATE_ADDRESS, PRIVATE_ADDRESS_6 };
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
const SERVERS = fileURLToPath(new URL("internet/main.ts", import.meta.url));

export class Internet implements AsyncDisposable {
  /** Of the host: what the web server gives is in it, put there at any time. */
  readonly folder: string;
  readonly #hosts: TwoHosts;
  #certificates: Certificates | undefined;

  private constructor(folder: string, hosts: TwoHosts) {
    this.folder = folder;
    this.#hosts = hosts;
  }

  static async open(): Promise<Internet> {
    const internet = new Internet(await mkdtemp(join(tmpdir(), "msb-internet-")), await TwoHosts.open());
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
    await this.#hosts.start("outside", argv);
  }

  /** Starts a daemon for this home that has this internet and no other network, and asks its name server. */
  async startDaemon(home: string, isUp: () => Promise<boolean>): Promise<void> {
    await writeFile(join(home, "network.json"), JSON.stringify({ resolvers: [PRIVATE_ADDRESS] }));
    await this.#hosts.startDaemon(home, isUp);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#hosts[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true, force: true });
  }

  async #open(): Promise<void> {
    const own = [
      `${PUBLIC_ADDRESS}/32`,
      `${OTHER_PUBLIC_ADDRESS}/32`,
      `${PUBLIC_ADDRESS_6}/128`,
      `${METADATA_ADDRESS}/32`,
    ];
    await this.#hosts.run("outside", own.map((address) => `ip addr add ${address} dev lo`).join("; "));
    const pki = await mkdtemp(join(this.folder, ".pki-"));
    const addresses = [PUBLIC_ADDRESS, PUBLIC_ADDRESS_6];
    this.#certificates = await makeCertificates(pki, NAMES, addresses);
    const settings: ServerSettings = { ...this.#certificates, folder: this.folder, addresses, zone: ZONE };
    await this.serve([...NODE, SERVERS, JSON.stringify(settings)]);
  }
}
