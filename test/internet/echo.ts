import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";

/** Gives back what comes, over TCP and UDP, on all addresses of both families. */
export async function serveEcho(port: number): Promise<void> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    socket.pipe(socket);
  });
  server.listen(port, "::");
  // A socket for each family: one for both would answer from an address that was not asked where there are several.
  const udp = (["udp4", "udp6"] as const).map((type) => {
    const socket = createSocket({ type, ipv6Only: type === "udp6" });
    socket.on("message", (payload, from) => socket.send(payload, from.port, from.address));
    socket.bind(port);
    return once(socket, "listening");
  });
  await Promise.all([once(server, "listening"), ...udp]);
}
