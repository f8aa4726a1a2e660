import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** An HTTP proxy for CONNECT, as Node's own server makes one. All the world is at one port of the loopback. */
export async function connectProxy(options: { tcpPort: number; login?: string; status?: number }) {
  const asked: string[] = [];
  const sockets: Socket[] = [];
  const wanted =
    options.login === undefined ? undefined : `Basic ${Buffer.from(options.login).toString("base64")}`;
  const server = createServer().listen(0, "127.0.0.1");
  server.on("connect", ({ url, headers }, socket: Socket, head: Buffer) => {
    sockets.push(socket);
    socket.on("error", () => {});
    const status = headers["proxy-authorization"] === wanted ? options.status : 407;
    if (status !== undefined) {
      socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    asked.push(url!);
    const far = connect({ host: "127.0.0.1", port: options.tcpPort, allowHalfOpen: true }, () => {
      socket.write("HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n");
      far.write(head);
      socket.pipe(far).pipe(socket);
    });
    far.on("error", () => socket.destroy());
    socket.once("close", () => far.destroy());
  });
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { asked, sockets, at: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}
