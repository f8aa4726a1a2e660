import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";

/** Gives back what comes, over TCP on all addresses, and over UDP on these. */
export async function serveEcho(port: number, addresses: readonly string[]): Promise<void> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    socket.pipe(socket);
  });
  server.listen(port, "::");
  // A socket for each: one for all would answer from whichever address is nearest.
  const udp = addresses.map((address) => {
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    socket.on("message", (payload, from) => socket.send(payload, from.port, from.address));
    socket.bind(port, address);
    return once(socket, "listening");
  });
  await Promise.all([once(server, "listening"), ...udp]);
}
