/** What a guest that speaks HTTP reads where it is denied: a person's or an agent's only way to know why. */
export function refusalPage(rule: string, reason: string): string {
  const body = `This sandbox may not make this request: ${reason}.\nDecided by: ${rule}\n`;
  return [
    "HTTP/1.1 403 Forbidden",
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
    "Cache-Control: no-store",
    // Rules are printable ASCII; a header must not depend on that.
    `Microsandbox-Rule: ${rule.replace(/[^\x20-\x7e]/g, "?")}`,
    "",
    body,
  ].join("\r\n");
}

/** The same in TLS: a fatal alert, access_denied (RFC 8446, 6.2). */
export const TLS_ACCESS_DENIED = Buffer.from([21, 3, 3, 0, 2, 2, 49]);
