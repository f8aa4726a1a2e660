import { getServers } from "node:dns";
import { readFile, stat } from "node:fs/promises";
import { isIP } from "node:net";

/**
 * Which resolvers the host asks. /etc/resolv.conf is read again when it changed, looked at once per second at most: laptops
 * change networks. Reads at most 64 KiB and takes the first three, as glibc does.
 */

export interface ResolverAddress {
  /** Literal, with a zone (`fe80::1%eth0`) where the file has one. */
  host: string;
  port: number;
}

const MAX_SERVERS = 3;
const MAX_FILE = 65_536;
const LOOK_EVERY_MS = 1000;

/** resolv.conf(5); anything else in it is not for us. */
export function parseResolvConf(text: string): ResolverAddress[] {
  const servers: ResolverAddress[] = [];
  for (const line of text.slice(0, MAX_FILE).split("\n")) {
    const host = /^\s*nameserver\s+(\S+)/.exec(line)?.[1];
    if (host !== undefined && isIP(host) !== 0 && servers.length < MAX_SERVERS)
      servers.push({ host, port: 53 });
  }
  return servers;
}

export class HostResolvers {
  readonly #path: string;
  readonly #now: () => number;
  #servers: ResolverAddress[] = [];
  #version = "";
  #lookAt = -Infinity;

  constructor(path = "/etc/resolv.conf", now: () => number = () => performance.now()) {
    this.#path = path;
    this.#now = now;
  }

  /** Never empty: without a file it is what Node knows, and then the host's own, as with glibc. */
  async servers(): Promise<ResolverAddress[]> {
    if (this.#now() < this.#lookAt) return this.#servers;
    this.#lookAt = this.#now() + LOOK_EVERY_MS;
    try {
      const { mtimeMs, size, ino } = await stat(this.#path);
      const version = `${mtimeMs} ${size} ${ino}`;
      if (version !== this.#version) {
        this.#servers = parseResolvConf(await readFile(this.#path, "utf8"));
        this.#version = version;
      }
    } catch {
      // Not a Unix, or it is being replaced: what Node found at its start.
      this.#version = "";
      this.#servers = parseResolvConf(
        getServers()
          .map((server) => `nameserver ${server}`)
          .join("\n"),
      );
    }
    if (this.#servers.length === 0) this.#servers = [{ host: "127.0.0.1", port: 53 }];
    return this.#servers;
  }
}
