import { canonicalPattern, type NamePattern } from "./domain-name.ts";
import { SandboxError } from "./errors.ts";
import { IpAddress } from "./ip-address.ts";
import { IpPrefix } from "./ip-prefix.ts";
import { type PortMatch, portsText, readPorts } from "./network-ports.ts";
import { type Word, wordsOf } from "./network-rule-words.ts";

/**
 * The one grammar of network rules: command line, Sandfile and API.
 *
 *     rule   = ("allow" | "deny") ("egress" | "ingress") target [ports]
 *     target = "public" | "private" | "host" | "group" | "any" | "metadata" | "encrypted-dns"
 *            | address | CIDR | "domain:" name | "domain:*." name | "@" set
 *     ports  = item *("," item)
 *     item   = ("tcp" | "udp") [":" port ["-" port]] | "icmp" | port ["-" port]    a bare port has the protocol before it
 *
 * Words stand apart by spaces or tabs, keywords are lower case. Without ports a rule is for every protocol and port.
 * At most 512 characters and 32 items of ports are read.
 */

export const MAX_RULE_LENGTH = 512;

export const KEYWORD_TARGETS = [
  "public",
  "private",
  "host",
  "group",
  "any",
  "metadata",
  "encrypted-dns",
] as const;
export type KeywordTarget = (typeof KEYWORD_TARGETS)[number];

export type NetworkTarget =
  | { kind: KeywordTarget }
  | { kind: "prefix"; prefix: IpPrefix }
  | { kind: "domain"; pattern: NamePattern }
  | { kind: "set"; name: string };

export interface NetworkRule {
  action: "allow" | "deny";
  direction: "egress" | "ingress";
  target: NetworkTarget;
  /** Empty: every protocol and port. */
  ports: PortMatch[];
}

const TARGET_HELP =
  "a target is public, private, host, group, any, metadata, encrypted-dns, an address, a CIDR, domain:NAME, domain:*.NAME or @SET";
export const SET_NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** Throws `invalid_argument` with the column (from 1) in its message and details, and what may stand there as hint. */
export function parseRule(text: string): NetworkRule {
  const fail = (column: number, message: string, hint: string): never => {
    const shown = text.length > 100 ? `${text.slice(0, 100)}…` : text;
    throw new SandboxError(
      "invalid_argument",
      `network rule ${JSON.stringify(shown)}, column ${column}: ${message}`,
      {
        hint,
        details: { rule: shown, column },
      },
    );
  };
  if (text.length > MAX_RULE_LENGTH)
    fail(MAX_RULE_LENGTH + 1, `a rule has at most ${MAX_RULE_LENGTH} characters`, "use a named set, @NAME");
  const words = wordsOf(text);
  const end: Word = { text: "", column: text.trimEnd().length + 1 };
  const [action = end, direction = end, target = end, ports, extra] = words;
  const example = "for example: allow egress domain:example.com tcp:443";
  if (action.text !== "allow" && action.text !== "deny")
    return fail(action.column, `${found(action)} where allow or deny must stand`, example);
  if (direction.text !== "egress" && direction.text !== "ingress")
    return fail(direction.column, `${found(direction)} where egress or ingress must stand`, example);
  const parsed = readTarget(target.text);
  if ("problem" in parsed)
    return fail(target.column, parsed.problem || `${found(target)} is no target`, parsed.hint);
  if (direction.text === "ingress" && ONLY_EGRESS.has(parsed.kind))
    return fail(
      target.column,
      `who connects has no name: ${target.text} is for egress`,
      "name an address, a CIDR, host, group or any",
    );
  if (extra !== undefined)
    return fail(
      extra.column,
      `${found(extra)} after the end of the rule`,
      "write ports without spaces: tcp:80,tcp:443",
    );
  const list = ports === undefined ? [] : readPorts(ports.text);
  if (!Array.isArray(list)) return fail(ports!.column + list.at, list.problem, list.hint);
  return { action: action.text, direction: direction.text, target: parsed, ports: list };
}

/** The canonical spelling: `parseRule` of it gives the same rule. */
export function ruleText(rule: NetworkRule): string {
  const head = `${rule.action} ${rule.direction} ${targetText(rule.target)}`;
  return rule.ports.length === 0 ? head : `${head} ${portsText(rule.ports)}`;
}

export function targetText(target: NetworkTarget): string {
  if (target.kind === "prefix") return target.prefix.text;
  if (target.kind === "domain") return `domain:${target.pattern}`;
  if (target.kind === "set") return `@${target.name}`;
  return target.kind;
}

/** A target alone, as in a named set. Throws like parseRule; the column counts in `text`. */
export function parseTarget(text: string): NetworkTarget {
  const target = readTarget(text);
  if (!("problem" in target)) return target;
  throw new SandboxError(
    "invalid_argument",
    target.problem || `${JSON.stringify(text.slice(0, 100))} is no target`,
    { hint: target.hint },
  );
}

const ONLY_EGRESS: ReadonlySet<string> = new Set(["domain", "encrypted-dns", "metadata"]);

function readTarget(text: string): NetworkTarget | { problem: string; hint: string } {
  const keyword = KEYWORD_TARGETS.find((word) => word === text);
  if (keyword !== undefined) return { kind: keyword };
  if (text.startsWith("@")) {
    if (SET_NAME.test(text.slice(1))) return { kind: "set", name: text.slice(1) };
    return {
      problem: `'${text.slice(0, 64)}' names no set`,
      hint: "a set's name has lower-case letters, digits and hyphens: @registries",
    };
  }
  if (text.startsWith("domain:")) return readDomain(text.slice("domain:".length));
  const prefix = IpPrefix.parse(text);
  if (prefix !== undefined) return readPrefix(prefix);
  return { problem: "", hint: whatWasMeant(text) };
}

function readDomain(text: string): NetworkTarget | { problem: string; hint: string } {
  const pattern = canonicalPattern(text);
  if (pattern !== undefined) return { kind: "domain", pattern };
  const problem = `'${text.slice(0, 64)}' is no domain name`;
  if (text === "*") return { problem, hint: "for every name write: public" };
  if (IpPrefix.parse(text) !== undefined)
    return { problem, hint: `an address stands without domain: — ${text}` };
  if (text.includes("*"))
    return { problem, hint: "a star stands for what is left of a name: domain:*.example.com" };
  return { problem, hint: "write the name alone, without scheme, port and path: domain:example.com" };
}

function readPrefix(prefix: IpPrefix): NetworkTarget | { problem: string; hint: string } {
  const { base } = prefix;
  // No packet may carry the mapped form; a rule for it would look as if it opened something.
  if (base.version === 6 && prefix.length >= 96 && MAPPED.contains(base)) {
    const inner = new IpPrefix(new IpAddress(base.bytes.slice(12)), prefix.length - 96);
    return { problem: "an IPv4 address in IPv6 spelling", hint: `write it as ${inner.text}` };
  }
  return { kind: "prefix", prefix };
}

const MAPPED = IpPrefix.parse("::ffff:0:0/96")!;

/** The hint for a target that is none. */
function whatWasMeant(text: string): string {
  const [address, length] = text.split("/", 2);
  const base = IpAddress.parse(address!);
  if (base !== undefined && /^\d{1,3}$/.test(length ?? "") && Number(length) <= base.bytes.length * 8)
    return `bits are set beyond /${length}: write ${IpPrefix.around(base, Number(length)).text} for the block or ${base.text} for the address`;
  if (KEYWORD_TARGETS.some((word) => word === text.toLowerCase())) return `write ${text.toLowerCase()}`;
  const host = text.replace(/^[a-z]+:\/\//i, "").replace(/[:/].*$/, "");
  const pattern = host.includes(".") ? canonicalPattern(host) : undefined;
  return pattern === undefined ? TARGET_HELP : `for a name write domain:${pattern}`;
}

function found(word: Word): string {
  return word.text === "" ? "the rule ends" : `'${word.text.slice(0, 64)}'`;
}
