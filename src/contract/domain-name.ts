import { domainToASCII } from "node:url";

/**
 * Names as the network compares them: lower case, ASCII (IDNs as punycode), without the dot at the end. Everything that
 * decides by name goes through here, so that `EXAMPLE.com.`, `example.com` and a look-alike in full-width letters are
 * one name. Reads at most 1,024 characters.
 */

const MAX_INPUT = 1024;
/** RFC 1035: 255 bytes on the wire, of which two are the first length and the root. */
const MAX_NAME = 253;
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;

/**
 * The name to compare by; undefined for what is no host name: empty labels, labels over 63 bytes, other characters,
 * more than 253 bytes, and anything that URLs would read as an IPv4 address (`127.1`, `0x7f000001`).
 */
export function canonicalName(text: string): string | undefined {
  if (text.length === 0 || text.length > MAX_INPUT) return undefined;
  const undotted = text.endsWith(".") ? text.slice(0, -1) : text;
  const lower = undotted.toLowerCase();
  const name = isAscii(lower) && !lower.includes("xn--") ? lower : domainToASCII(lower);
  if (name.length === 0 || name.length > MAX_NAME) return undefined;
  const labels = name.split(".");
  if (!labels.every((label) => LABEL.test(label))) return undefined;
  // The WHATWG's rule: a last label that is a number makes the whole an IPv4 address.
  if (/^(?:\d+|0x[0-9a-f]*)$/.test(labels.at(-1)!)) return undefined;
  return name;
}

/** `example.com` names itself; `*.example.com` what is below it, at any depth, and not `example.com`. */
export type NamePattern = string;

/** The pattern in its canonical spelling; undefined for what is none. A star stands only alone as the first label. */
export function canonicalPattern(text: string): NamePattern | undefined {
  if (!text.startsWith("*.")) return canonicalName(text);
  const suffix = canonicalName(text.slice(2));
  return suffix === undefined ? undefined : `*.${suffix}`;
}

/** Both canonical. */
export function nameMatches(name: string, pattern: NamePattern): boolean {
  if (!pattern.startsWith("*.")) return name === pattern;
  const suffix = pattern.slice(1);
  return name.length > suffix.length && name.endsWith(suffix);
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}
