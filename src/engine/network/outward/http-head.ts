import { canonicalName } from "../../../contract/domain-name.ts";

/**
 * The head of an HTTP/1 request (RFC 9112), read as strictly as the RFC allows: whatever servers are known to read in different
 * ways (bare line feeds, folded lines, blanks before colons, two lengths, a length beside chunks) is an error, so that what was
 * checked is what the server sees.
 */

export interface HttpHead {
  /** Canonical; undefined: an address, or an HTTP/1.0 request without one. */
  host: string | undefined;
  /** How the body ends. */
  body: { kind: "none" } | { kind: "length"; bytes: number } | { kind: "chunked" };
  /** It asks to speak WebSocket from here on. */
  webSocket: boolean;
}

const MAX_FIELDS = 200;
const REQUEST_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e\x80-\xff]+) HTTP\/1\.([01])$/;
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$/;

/** `text` is Latin-1, from the request line to the last field, without the empty line. */
export function parseHttpHead(text: string): HttpHead | { error: string } {
  const [line, ...fields] = text.split("\r\n") as [string, ...string[]];
  const request = REQUEST_LINE.exec(line);
  if (request === null) return { error: "a request line that is not HTTP/1's" };
  const [, method, target, minor] = request as unknown as [string, string, string, string];
  const values = new Map<string, string[]>();
  if (fields.length > MAX_FIELDS) return { error: `more than ${MAX_FIELDS} fields in a request` };
  for (const field of fields) {
    const match = FIELD.exec(field);
    if (match === null) return { error: "a field of the request that is malformed" };
    const name = match[1]!.toLowerCase();
    values.set(name, [...(values.get(name) ?? []), match[2]!]);
  }
  const body = bodyOf(values, minor);
  if ("error" in body) return body;
  const host = hostOf(method, target, values.get("host") ?? [], minor);
  if ("error" in host) return host;
  const upgrade = values.get("upgrade") ?? [];
  return {
    host: host.name,
    body,
    webSocket: upgrade.length === 1 && upgrade[0]!.toLowerCase() === "websocket",
  };
}

function bodyOf(values: Map<string, string[]>, minor: string): HttpHead["body"] | { error: string } {
  const lengths = values.get("content-length") ?? [];
  const codings = values.get("transfer-encoding") ?? [];
  if (codings.length > 0) {
    if (lengths.length > 0 || codings.length > 1 || minor === "0" || codings[0]!.toLowerCase() !== "chunked")
      return { error: "a request whose body could end in two ways" };
    return { kind: "chunked" };
  }
  if (lengths.length === 0) return { kind: "none" };
  if (lengths.length > 1 || !/^\d{1,15}$/.test(lengths[0]!))
    return { error: "a request whose length is unclear" };
  return { kind: "length", bytes: Number(lengths[0]) };
}

function hostOf(
  method: string,
  target: string,
  hosts: string[],
  minor: string,
): { name: string | undefined } | { error: string } {
  if (hosts.length > 1) return { error: "a request with two hosts" };
  if (hosts.length === 0 && minor === "1") return { error: "a request without a host" };
  if (method === "CONNECT") return { error: "a request for a proxy" };
  const authority = hosts[0] ?? "";
  if (target.startsWith("/") || target === "*") return { name: nameOf(authority) };
  // Where the target is a whole URL it counts more than the field (RFC 9112, 3.2.2): they must agree.
  const absolute = /^https?:\/\/([^/?#@]*)(?:[/?#]|$)/i.exec(target);
  if (absolute === null) return { error: "a request whose target is neither a path nor a URL" };
  if (hosts.length === 1 && absolute[1]!.toLowerCase() !== authority.toLowerCase())
    return { error: "a request whose URL and host differ" };
  return { name: nameOf(absolute[1]!) };
}

function nameOf(authority: string): string | undefined {
  return canonicalName(authority.replace(/:\d{0,5}$/, ""));
}
