import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { NameServer } from "../name-server.ts";

/**
 * A program for one side of the attacked internet: takes what comes to some ports and answers it, gives datagrams back, knows names. What
 * reached it is recorded at its interface, not here. Says "listening" when it does.
 */

export interface Servers {
  /** Of TCP; what comes is answered once, and the connection closed. */
  sinks: number[];
  /** Port of HTTP; `/to/URL` redirects there. */
  web?: number;
  /** Where each datagram is sent back from. */
  echo?: { address: string; port: number };
  names?: { address: string; lines: string[] };
}

const { sinks, web, echo, names }: Servers = JSON.parse(process.argv[2]!);

for (const port of sinks) {
  const sink = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.end("taken\n"));
    socket.resume();
  });
  sink.listen(port, "::");
  await once(sink, "listening");
}
if (web !== undefined) {
  const server = createHttpServer(({ url = "/" }, response) => {
    const to = /^\/to\/(.*)/.exec(url)?.[1];
    response.writeHead(to === undefined ? 200 : 302, { connection: "close", ...(to && { location: to }) });
    response.end("hello\n");
  });
  server.listen(web, "::");
  await once(server, "listening");
}
if (echo !== undefined) {
  const socket = createSocket("udp4");
  socket.on("message", (payload, from) => socket.send(payload, from.port, from.address));
  socket.bind(echo.port, echo.address);
  await once(socket, "listening");
}
if (names !== undefined) await NameServer.listenOn(names.address, 53, names.lines);
console.log("listening");
