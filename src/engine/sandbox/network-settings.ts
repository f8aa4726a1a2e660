import { isIP } from "node:net";
import { type NetworkSettings, networkSettings } from "../../contract/index.ts";
import { SettingsFile } from "../image/index.ts";
import type { NetworkStackSettings } from "../network/index.ts";

/** `network.json`: named sets of targets, resolvers and the proxy. Read again when it changed; a sandbox has what held at its start. */
export class NetworkSettingsFile {
  readonly #file: SettingsFile<NetworkSettings>;

  /** @param path of the file, which need not be there */
  constructor(path: string) {
    this.#file = new SettingsFile(path, networkSettings);
  }

  /** @throws `invalid_argument` if the file is not valid */
  get(): NetworkStackSettings {
    const { sets, resolvers, proxy, proxyNames } = this.#file.get();
    return { sets, proxy, proxyNames, resolvers: resolvers?.map(resolverOf) };
  }
}

const DNS_PORT = 53;

/** `1.1.1.1`, `1.1.1.1:5353`, `2606::1` or `[2606::1]:5353`; the schema has seen to it that it is one of these. */
function resolverOf(text: string): { host: string; port: number } {
  if (isIP(text) !== 0) return { host: text, port: DNS_PORT };
  const at = text.lastIndexOf(":");
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(text.slice(at + 1)) };
}
