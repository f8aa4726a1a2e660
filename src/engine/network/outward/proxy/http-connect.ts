import type { Socket } from "node:net";
import { type ProxyAnswers, refusedByProxy } from "./proxy-answers.ts";
import type { ProxyLogin } from "./proxy-url.ts";
import type { ProxyTarget } from "./socks5.ts";

/** Asks an HTTP proxy for a connection (RFC 9110, 9.3.6). It knows none for datagrams. */
export async function httpConnect(
  socket: Socket,
  answers: ProxyAnswers,
  { address, name, port }: ProxyTarget,
  { user, password }: ProxyLogin,
): Promise<void> {
  const host = name ?? (address.version === 4 ? address.text : `[${address.text}]`);
  const login =
    user === ""
      ? ""
      : `Proxy-Authorization: Basic ${Buffer.from(`${user}:${password}`).toString("base64")}\r\n`;
  socket.write(`CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\n${login}\r\n`);
  const head = await answers.until("\r\n\r\n");
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1];
  if (status === undefined || !status.startsWith("2"))
    throw refusedByProxy(`the proxy answers ${status ?? "no HTTP"}`);
}
