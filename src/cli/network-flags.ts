import { realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { SandboxError } from "../contract/errors.ts";
import type { SandboxSpecInput } from "../sdk/index.ts";
import { homePath } from "./home-path.ts";
import { LIMIT_WORDS, parseLimits } from "./network-limit-flags.ts";
import { parseMebibytes } from "./quantity.ts";

/** `--net`, `--group`, `--net-rule` and `--port`, for `run` and `create`. Rules are the daemon's to parse: it has the one grammar. */

export interface NetworkFlags {
  net?: "none" | "group" | "public" | "any";
  group?: string;
  netRule?: string[];
  port?: string[];
  netLimit?: string[];
  pcap?: string;
  pcapSize?: number;
}

type Network = NonNullable<SandboxSpecInput["network"]>;
type PublishedPort = NonNullable<Network["ports"]>[number];

/** Ports that one flag may publish. */
const MAX_RANGE = 128;

const collect = (value: string, before: string[] = []) => [...before, value];

export function addNetworkFlags(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--net <SCOPE>",
        "what it reaches without a rule: none, group (its group alone), public (the internet) or any (private networks too) (default: public, or group with --group)",
      ).choices(["none", "group", "public", "any"]),
    )
    .option("--group <NAME>", "put it into a group, whose sandboxes reach each other by their names")
    .option(
      "--net-rule <RULE>",
      "allow or deny, as 'allow egress domain:example.com tcp:443'; the first that matches decides (repeatable)",
      collect,
    )
    .option(
      "-p, --port <HOST:GUEST>",
      "publish a port of the sandbox at one of this machine: [BIND:]HOST:GUEST[/udp], ranges as 8000-8009:80-89, HOST 0 for any that is free (repeatable)",
      collect,
    )
    .option(
      "--net-limit <LIMIT>",
      `a limit a second: ${LIMIT_WORDS}; as bytes-out=10M, packets-in=2000 (repeatable)`,
      collect,
    )
    .option("--pcap <FILE>", "write all that it sends and receives to a file for Wireshark and tcpdump")
    .option("--pcap-size <SIZE>", "the most that such a file has, as 100M (default: 1G)", parseMebibytes);
}

/** The network that the flags ask for; undefined if they say nothing of it. */
export function networkOf({
  net,
  group,
  netRule = [],
  port = [],
  netLimit = [],
  pcap,
  pcapSize,
}: NetworkFlags): Network | undefined {
  if (pcapSize !== undefined && pcap === undefined)
    throw new SandboxError("invalid_argument", "--pcap-size is for --pcap", {
      hint: "Name a file: --pcap FILE.",
    });
  const others = [net, group, pcap];
  if (
    others.every((each) => each === undefined) &&
    netRule.length === 0 &&
    port.length + netLimit.length === 0
  )
    return undefined;
  return {
    ...(net !== undefined && { scope: net }),
    ...(group !== undefined && { group }),
    ...(netRule.length > 0 && { rules: netRule }),
    ...(port.length > 0 && { ports: port.flatMap(parsePorts) }),
    ...(netLimit.length > 0 && { limits: parseLimits(netLimit, false) }),
    ...(pcap !== undefined && {
      capture: { file: realFile(pcap), ...(pcapSize !== undefined && { maxMiB: pcapSize }) },
    }),
  };
}

/** The daemon knows neither this folder nor this home; and it takes no path with a link in it. */
function realFile(name: string): string {
  const path = resolve(homePath(name));
  try {
    return join(realpathSync(dirname(path)), basename(path));
  } catch {
    // Whoever opens it says what is wrong.
    return path;
  }
}

const PORTS =
  /^(?:(?<bind>\[[0-9a-f:.]+\]|[0-9.]+):)?(?<host>\d+(?:-\d+)?):(?<guest>\d+(?:-\d+)?)(?:\/(?<protocol>tcp|udp))?$/i;

/** `[BIND:]HOST:GUEST[/tcp|/udp]`, where HOST and GUEST may be ranges of one length; BIND in brackets if it is IPv6. */
export function parsePorts(text: string): PublishedPort[] {
  const { bind, host = "", guest = "", protocol = "tcp" } = PORTS.exec(text)?.groups ?? {};
  const [hosts, guests] = [rangeOf(host), rangeOf(guest)];
  if (hosts === undefined || guests === undefined) {
    throw invalid(
      text,
      "is not of the form HOST:GUEST",
      "for example --port 8080:80, 127.0.0.1:5300:53/udp or 0:80",
    );
  }
  const any = hosts.length === 1 && hosts[0] === 0;
  if (!any && hosts.length !== guests.length) throw invalid(text, "has ranges of different lengths");
  return guests.map((port, i) => ({
    ...(bind !== undefined && { bind: bind.replace(/^\[|\]$/g, "") }),
    host: any ? 0 : hosts[i]!,
    guest: port,
    protocol: protocol.toLowerCase() as "tcp" | "udp",
  }));
}

function rangeOf(text: string): number[] | undefined {
  const [first, last = first] = text.split("-").map(Number);
  if (text === "" || first === undefined || last === undefined || last < first || last > 65_535)
    return undefined;
  if (last - first >= MAX_RANGE) return undefined;
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

function invalid(text: string, why: string, hint?: string): SandboxError {
  return new SandboxError("invalid_argument", `--port: "${text}" ${why}`, { hint });
}
