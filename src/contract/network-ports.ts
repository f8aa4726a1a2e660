/**
 * The last word of a network rule: protocols and ports, `tcp:443`, `tcp:80,443,8000-8999`, `udp`, `icmp`.
 * At most 32 items are read.
 */

export type Protocol = "tcp" | "udp" | "icmp";

export interface PortMatch {
  protocol: Protocol;
  /** First and last port, inclusive. Absent: all of the protocol. */
  range?: { from: number; to: number };
}

const MAX_ITEMS = 32;
const HELP = "for example: tcp:443  or  tcp:80,tcp:8000-8999  or  udp:53  or  icmp";

/** What is wrong, and where in the word (from 0). */
export interface PortsProblem {
  problem: string;
  at: number;
  hint: string;
}

export function readPorts(word: string): PortMatch[] | PortsProblem {
  const list: PortMatch[] = [];
  let at = 0;
  for (const item of word.split(",", MAX_ITEMS + 1)) {
    if (list.length === MAX_ITEMS)
      return { problem: `more than ${MAX_ITEMS} items of ports`, at, hint: "write ranges, or a second rule" };
    const match = readItem(item, list.at(-1));
    if ("problem" in match) return { ...match, at: at + match.at };
    list.push(match);
    at += item.length + 1;
  }
  return list;
}

export function portsText(ports: PortMatch[]): string {
  return ports
    .map(({ protocol, range }) => {
      if (range === undefined) return protocol;
      return `${protocol}:${range.from === range.to ? range.from : `${range.from}-${range.to}`}`;
    })
    .join(",");
}

/** Whether a rule with these ports is for that one. `port` is absent for ICMP. */
export function portsMatch(ports: PortMatch[], protocol: Protocol, port: number | undefined): boolean {
  if (ports.length === 0) return true;
  return ports.some((match) => {
    if (match.protocol !== protocol) return false;
    if (match.range === undefined) return true;
    return port !== undefined && port >= match.range.from && port <= match.range.to;
  });
}

function readItem(item: string, before: PortMatch | undefined): PortMatch | PortsProblem {
  const [head, ...rest] = item.split(":");
  const bare = /^\d/.test(item) && before?.range !== undefined;
  const protocol = bare ? before.protocol : head!;
  if (protocol !== "tcp" && protocol !== "udp" && protocol !== "icmp") {
    const problem =
      item === "" ? "a protocol is missing" : `'${item.slice(0, 32)}' is not tcp, udp or icmp with ports`;
    return { problem, at: 0, hint: /^\d+$/.test(item) ? `write tcp:${item}` : HELP };
  }
  if (!bare && rest.length === 0) return { protocol };
  const ports = bare ? item : rest.join(":");
  const at = item.length - ports.length;
  if (protocol === "icmp") return { problem: "icmp has no ports", at, hint: "write icmp alone" };
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(ports);
  const from = Number(match?.[1]);
  const to = Number(match?.[2] ?? match?.[1]);
  if (match === null || from < 1 || to > 65535)
    return {
      problem: `'${ports.slice(0, 32)}' is no port or range of ports`,
      at,
      hint: `ports are 1 to 65535; ${HELP}`,
    };
  if (from > to)
    return { problem: `the range ${ports} runs backwards`, at, hint: `write ${protocol}:${to}-${from}` };
  return { protocol, range: { from, to } };
}
