import type { Socket } from "node:net";
import { IpAddress } from "../../../../contract/ip-address.ts";
import { type ProxyAnswers, refusedByProxy } from "./proxy-answers.ts";
import type { ProxyLogin } from "./proxy-url.ts";

/** What a client says to a SOCKS5 proxy (RFC 1928; logins: RFC 1929), and how addresses are written there. */

export interface ProxyTarget {
  address: IpAddress;
  /** Goes to the proxy in place of the address. */
  name?: string | undefined;
  port: number;
}

export const SOCKS5_CONNECT = 1;
export const SOCKS5_UDP_ASSOCIATE = 3;

const VERSION = 5;
const NO_LOGIN = 0;
const WITH_PASSWORD = 2;
const KIND = { ipv4: 1, name: 3, ipv6: 4 } as const;
const COMMAND_UNKNOWN = 7;

/** Says hello, logs in and asks for `command`. Where the proxy does it from; no address where it gives a name. */
export async function askSocks5(
  socket: Socket,
  answers: ProxyAnswers,
  command: number,
  target: Buffer,
  login: ProxyLogin,
): Promise<{ address: IpAddress | undefined; port: number }> {
  await logIn(socket, answers, login);
  socket.write(Buffer.concat([Buffer.of(VERSION, command, 0), target]));
  const [version, reply, , kind] = await answers.bytes(4);
  if (version !== VERSION) throw refusedByProxy("the proxy speaks no SOCKS5");
  if (reply !== 0)
    throw Object.assign(new Error(`the proxy answers ${WORDS[reply!] ?? reply}`), {
      code: CODES[reply!] ?? "ECONNREFUSED",
    });
  const length = kind === KIND.ipv4 ? 4 : kind === KIND.ipv6 ? 16 : (await answers.bytes(1))[0]!;
  const host = await answers.bytes(length);
  const port = (await answers.bytes(2)).readUInt16BE();
  return { address: kind === KIND.name ? undefined : new IpAddress(Uint8Array.from(host)), port };
}

async function logIn(socket: Socket, answers: ProxyAnswers, { user, password }: ProxyLogin): Promise<void> {
  const method = user === "" ? NO_LOGIN : WITH_PASSWORD;
  socket.write(Uint8Array.of(VERSION, 1, method));
  const [version, chosen] = await answers.bytes(2);
  if (version !== VERSION || chosen !== method)
    throw refusedByProxy("the proxy speaks no SOCKS5 or wants another login");
  if (method === NO_LOGIN) return;
  const parts = [Buffer.from(user), Buffer.from(password)].map((part) => part.subarray(0, 255));
  socket.write(Buffer.concat([Buffer.of(1), ...parts.flatMap((part) => [Buffer.of(part.length), part])]));
  if ((await answers.bytes(2))[1] !== 0) throw refusedByProxy("the proxy refuses the login");
}

/** RFC 1928, 6. What the guest is told of it. */
const CODES: Record<number, string> = {
  3: "ENETUNREACH",
  4: "EHOSTUNREACH",
  6: "ETIMEDOUT",
  [COMMAND_UNKNOWN]: "EOPNOTSUPP",
};
const WORDS: Record<number, string> = {
  1: "that it failed",
  2: "that its rules forbid it",
  3: "that the network is unreachable",
  4: "that the host is unreachable",
  5: "that the connection was refused",
  6: "that the time is over",
  [COMMAND_UNKNOWN]: "that it does not know the command",
  8: "that it does not know such addresses",
};

/** Kind, address or name, and port. */
export function socks5Target({ address, name, port }: ProxyTarget): Buffer {
  const end = Buffer.of(port >> 8, port & 0xff);
  if (name !== undefined) return Buffer.concat([Buffer.of(KIND.name, name.length), Buffer.from(name), end]);
  const kind = address.version === 4 ? KIND.ipv4 : KIND.ipv6;
  return Buffer.concat([Buffer.of(kind), address.bytes, end]);
}

/** The other way round; undefined for what is malformed. `length` is of the bytes that it takes. */
export function parseSocks5Target(
  bytes: Buffer,
): { address: IpAddress | undefined; port: number; length: number } | undefined {
  const kind = bytes[0];
  const [at, size] =
    kind === KIND.ipv4 ? [1, 4] : kind === KIND.ipv6 ? [1, 16] : kind === KIND.name ? [2, bytes[1] ?? 0] : [];
  if (at === undefined || size === undefined || bytes.length < at + size + 2) return undefined;
  return {
    address: kind === KIND.name ? undefined : new IpAddress(Uint8Array.from(bytes.subarray(at, at + size))),
    port: bytes.readUInt16BE(at + size),
    length: at + size + 2,
  };
}
