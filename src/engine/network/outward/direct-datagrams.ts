import { createSocket } from "node:dgram";
import type { OpenDatagrams } from "./remote-datagrams.ts";

/** A connected socket of the host: the kernel drops what comes from elsewhere, and tells us what ICMP says. */
export const openDirect: OpenDatagrams = async (address, port, hears, { signal }) => {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = createSocket(address.version === 4 ? "udp4" : "udp6");
  const abort = () => reject(Object.assign(new Error("the flow was closed"), { code: "ECANCELED" }));
  signal.addEventListener("abort", abort, { once: true });
  socket.on("error", reject);
  if (signal.aborted) abort();
  else socket.connect(port, address.text, (error?: Error) => (error ? reject(error) : resolve()));
  try {
    await promise;
  } catch (error) {
    socket.close();
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
    socket.off("error", reject);
    socket.on("error", (error) => hears.onFailure(error));
  }
  socket.on("message", (payload) => hears.onDatagram(payload));
  return {
    send: (payload) => socket.send(payload, () => {}),
    close: () => void socket.close(),
  };
};
