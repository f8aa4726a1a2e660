import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/**
 * A SOCKS5 server (RFC 1928, 1929) as others write one: methods, CONNECT, UDP ASSOCIATE with a relay per client. All the world is at
 * one port of the loopback. `curl --socks5-hostname` is content with it.
 */

export interface Socks5ServerOptions {
  /** Where connections and datagrams end up. */
  tcpPort?: number;
  udpPort?: number;
  /** `user:password` that clients must give. Default: none. */
  login?: string;
  /** Says "command not supported" to UDP ASSOCIATE. */
  withoutUdp?: boolean;
  /** Reply codes in place of a connection. */
  refuse?: Record<string, number>;
}

export async function socks5Server(options: Socks5ServerOptions) {
  /** `CONNECT name:port`, `UDP address:port`. */
  const asked: string[] = [];
  const sockets: Socket[] = [];
  const relays: UdpSocket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    void serve(socket, options, asked, relays).catch(() => socket.destroy());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { asked, sockets, relays, port, at: `127.0.0.1:${port}` };
}

async function serve(
  socket: Socket,
  { tcpPort = 1, udpPort = 1, login, withoutUdp, refuse = {} }: Socks5ServerOptions,
  asked: string[],
  relays: UdpSocket[],
): Promise<void> {
  const reader = new Reader(socket);
  const methods = await reader.take((await reader.take(2))[1]!);
  const wanted = login === undefined ? 0 : 2;
  if (!methods.includes(wanted)) {
    socket.end(Buffer.of(5, 0xff));
    return;
  }
  socket.write(Buffer.of(5, wanted));
  if (login !== undefined) {
    const user = await reader.take((await reader.take(2))[1]!);
    const password = await reader.take((await reader.take(1))[0]!);
    const right = `${user}:${password}` === login;
    socket.write(Buffer.of(1, right ? 0 : 1));
    if (!right) return void socket.end();
  }
  const [, command] = await reader.take(3);
  const kind = await reader.take(1);
  const size =
    kind[0] === 3
      ? await reader.take(1)
      : Buffer.of(...(kind[0] === 1 || kind[0] === 4 ? [kind[0] * 4] : []));
  const host = textOf(kind[0]!, await reader.take(size[0]!));
  const port = (await reader.take(2)).readUInt16BE();
  const reply = (code: number, bound = 0) =>
    socket.write(Buffer.from([5, code, 0, 1, 0, 0, 0, 0, bound >> 8, bound & 0xff]));
  if (command === 3) {
    if (withoutUdp) return void reply(7);
    reply(0, await relay(socket, udpPort, asked, relays));
    return;
  }
  asked.push(`CONNECT ${host}:${port}`);
  const refusal = refuse[host];
  if (refusal !== undefined) return void reply(refusal);
  const far = connect({ host: "127.0.0.1", port: tcpPort, allowHalfOpen: true });
  far.on("error", () => reply(5));
  socket.once("close", () => far.destroy());
  await once(far, "connect");
  reply(0);
  reader.rest(far);
  far.pipe(socket);
}

/** Gives the port of the new relay. It is there as long as the connection is. */
async function relay(socket: Socket, udpPort: number, asked: string[], relays: UdpSocket[]): Promise<number> {
  const near = createSocket("udp4").bind(0, "127.0.0.1");
  const far = createSocket("udp4").bind(0, "127.0.0.1");
  relays.push(near);
  await Promise.all([once(near, "listening"), once(far, "listening")]);
  socket.once("end", () => socket.destroy());
  socket.once("close", () => {
    near.close();
    far.close();
  });
  socket.resume();
  let client: { port: number; address: string } | undefined;
  let head = Buffer.alloc(0);
  near.on("message", (datagram, from) => {
    client = from;
    const kind = datagram[3]!;
    const size = kind === 3 ? 1 + datagram[4]! : kind * 4;
    const host = textOf(kind, datagram.subarray(kind === 3 ? 5 : 4, 4 + size));
    const end = 4 + size + 2;
    asked.push(`UDP ${host}:${datagram.readUInt16BE(end - 2)}`);
    head = datagram.subarray(0, end);
    far.send(datagram.subarray(end), udpPort, "127.0.0.1");
  });
  far.on("message", (payload) => {
    if (client !== undefined) near.send([head, payload], client.port, client.address);
  });
  return near.address().port;
}

function textOf(kind: number, bytes: Buffer): string {
  if (kind === 3) return bytes.toString();
  if (kind === 1) return [...bytes].join(".");
  return bytes.toString("hex").replace(/(....)(?=.)/g, "$1:");
}

/** Reads so many bytes at a time, and then lets go. */
class Reader {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  async take(length: number): Promise<Buffer> {
    for (;;) {
      const bytes = this.#socket.read(length) as Buffer | null;
      if (length === 0) return Buffer.alloc(0);
      if (bytes !== null) return bytes;
      if (this.#socket.readableEnded || this.#socket.destroyed) throw new Error("the client hung up");
      await Promise.race([once(this.#socket, "readable"), once(this.#socket, "close")]);
    }
  }

  rest(to: Socket): void {
    this.#socket.pipe(to);
  }
}
