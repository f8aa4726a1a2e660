/** What a guest that speaks HTTP reads where it is denied: a person's or an agent's only way to know why. */
export function refusalPage(rule: string, reason: string): string {
  const body = `This sandbox may not make this request: ${reason}.\nDecided by: ${rule}\n`;
  // Rules are printable ASCII; a line of the head must not depend on that.
  const shown = rule.replace(/[^\x20-\x7e]/g, "?");
  return [
    // pip, apt and others show the words behind the status, and never the page.
    `HTTP/1.1 403 Forbidden by ${shown}`,
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
    "Cache-Control: no-store",
    `Microsandbox-Rule: ${shown}`,
    "",
    body,
  ].join("\r\n");
}

/** The same in TLS: a fatal alert, access_denied (RFC 8446, 6.2). */
export const TLS_ACCESS_DENIED = Buffer.from([21, 3, 3, 0, 2, 2, 49]);
