import { SandboxError } from "../contract/errors.ts";
import type { NetworkQuestionInput } from "../sdk/index.ts";

const PORTS: Record<string, number> = {
  "http:": 80,
  "https:": 443,
  "ws:": 80,
  "wss:": 443,
  "ssh:": 22,
  "git:": 9418,
};
const HOST_AND_PORT =
  /^(?:\[(?<v6>[0-9a-f:.]+)\]|(?<name>[^:/\s]+)):(?<port>\d{1,5})(?:\/(?<protocol>tcp|udp))?$/i;

/**
 * What `msb net test` is asked about: a URL, or `HOST:PORT`, `[v6]:PORT`, with `/udp` behind it for UDP.
 *
 * @throws SandboxError `invalid_argument` for what is neither
 */
export function parseNetworkTarget(text: string): NetworkQuestionInput {
  if (text.includes("://") && URL.canParse(text)) {
    const { hostname, port, protocol } = new URL(text);
    const number = Number(port) || PORTS[protocol];
    if (hostname !== "" && number !== undefined)
      return { host: hostname.replace(/^\[|\]$/g, ""), port: number };
  }
  const { v6, name, port, protocol = "tcp" } = HOST_AND_PORT.exec(text)?.groups ?? {};
  const host = v6 ?? name;
  if (host !== undefined) {
    return { host, port: Number(port), protocol: protocol.toLowerCase() as "tcp" | "udp" };
  }
  throw new SandboxError("invalid_argument", `'${text}' names no target`, {
    hint: "give a URL, as https://example.com, or HOST:PORT, as 1.1.1.1:53/udp",
  });
}
