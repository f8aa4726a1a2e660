import type { Socket } from "node:net";
import { SandboxError } from "../../../contract/errors.ts";
import type { IpAddress } from "../../../contract/ip-address.ts";
import { type Dial, type DialOptions, dialHost } from "./dial.ts";

/**
 * Dials through a proxy that the user's settings name: SOCKS5 (RFC 1928, 1929) or HTTP CONNECT (RFC 9110, 9.3.6). The decision is
 * made before, and the proxy is given the address that was decided about, never a name. Bounds: an answer of 8 KiB; the time of
 * the dial is for the whole exchange.
 */

/** `socks5://[user:password@]host:port` or `http://[user:password@]host:port`; `invalid_argument` for anything else. */
export function dialThrough(url: string): Dial {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const talk = parsed && { "socks5:": socks5, "http:": httpConnect }[parsed.protocol];
  if (parsed === undefined || talk === undefined || parsed.hostname === "")
    throw new SandboxError("invalid_argument", "the network's proxy is no URL of a SOCKS5 or HTTP proxy", {
      hint: "write socks5://HOST:PORT or http://HOST:PORT",
    });
  const port = Number(parsed.port) || (parsed.protocol === "socks5:" ? 1080 : 80);
  const host = parsed.hostname.replace(/^\[|\]$/g, "");
  const login = { user: decodeURIComponent(parsed.username), password: decodeURIComponent(parsed.password) };
  return async (address, toPort, options) => {
    const socket = await dialHost(host, port, options);
    const answers = new Answers(socket, options);
    try {
      await talk(socket, answers, { address, port: toPort }, login);
      answers.release();
      return socket;
    } catch (error) {
      socket.destroy();
      throw error;
    }
  };
}

interface Target {
  address: IpAddress;
  port: number;
}

interface Login {
  user: string;
  password: string;
}

async function socks5(
  socket: Socket,
  answers: Answers,
  to: Target,
  { user, password }: Login,
): Promise<void> {
  const method = user === "" ? 0 : 2;
  socket.write(Uint8Array.of(5, 1, method));
  const [version, chosen] = await answers.bytes(2);
  if (version !== 5 || chosen !== method) throw refused("the proxy speaks no SOCKS5 or wants another login");
  if (method === 2) {
    const parts = [Buffer.from(user), Buffer.from(password)].map((part) => part.subarray(0, 255));
    socket.write(Buffer.concat([Buffer.of(1), ...parts.flatMap((part) => [Buffer.of(part.length), part])]));
    if ((await answers.bytes(2))[1] !== 0) throw refused("the proxy refuses the login");
  }
  const kind = to.address.version === 4 ? 1 : 4;
  socket.write(
    Buffer.concat([Buffer.of(5, 1, 0, kind), to.address.bytes, Buffer.of(to.port >> 8, to.port & 255)]),
  );
  const [, reply, , bound] = await answers.bytes(4);
  if (reply !== 0)
    throw Object.assign(new Error(`the proxy answers ${reply}`), {
      code: SOCKS_CODES[reply!] ?? "ECONNREFUSED",
    });
  const length = bound === 1 ? 4 : bound === 4 ? 16 : (await answers.bytes(1))[0]!;
  await answers.bytes(length + 2);
}

const SOCKS_CODES: Record<number, string> = { 3: "ENETUNREACH", 4: "EHOSTUNREACH", 6: "ETIMEDOUT" };

async function httpConnect(
  socket: Socket,
  answers: Answers,
  to: Target,
  { user, password }: Login,
): Promise<void> {
  const host = to.address.version === 4 ? to.address.text : `[${to.address.text}]`;
  const login =
    user === ""
      ? ""
      : `Proxy-Authorization: Basic ${Buffer.from(`${user}:${password}`).toString("base64")}\r\n`;
  socket.write(`CONNECT ${host}:${to.port} HTTP/1.1\r\nHost: ${host}:${to.port}\r\n${login}\r\n`);
  const head = await answers.until("\r\n\r\n");
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1];
  if (status === undefined || !status.startsWith("2"))
    throw refused(`the proxy answers ${status ?? "no HTTP"}`);
}

const MAX_ANSWER = 8192;

/** Reads what a proxy says without taking more than that. */
class Answers {
  readonly #socket: Socket;
  readonly #deadline: number;
  readonly #signal: AbortSignal;

  constructor(socket: Socket, options: DialOptions) {
    this.#socket = socket;
    this.#deadline = performance.now() + options.timeoutMs;
    this.#signal = options.signal;
    socket.on("error", this.#ignore);
  }

  /** The socket is the caller's again. */
  release(): void {
    this.#socket.removeListener("error", this.#ignore);
  }

  async bytes(length: number): Promise<Buffer> {
    if (length === 0) return Buffer.alloc(0);
    for (;;) {
      // Never null while that much is there; a socket that ended gives what is left.
      const bytes = this.#socket.read(length) as Buffer | null;
      if (bytes?.length === length) return bytes;
      if (bytes !== null) throw refused("the proxy hung up");
      await this.#more();
    }
  }

  async until(end: string): Promise<string> {
    let text = "";
    while (!text.endsWith(end)) {
      text += (await this.bytes(1)).toString("latin1");
      if (text.length > MAX_ANSWER) throw refused("the proxy says too much");
    }
    return text;
  }

  async #more(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const socket = this.#socket;
    const over = () => reject(refused("the proxy hung up"));
    const abort = () => reject(Object.assign(new Error("the guest gave up"), { code: "ECANCELED" }));
    const timer = setTimeout(
      () => reject(Object.assign(new Error("the proxy did not answer"), { code: "ETIMEDOUT" })),
      Math.max(0, this.#deadline - performance.now()),
    );
    socket.once("readable", resolve);
    socket.once("close", over);
    socket.once("end", over);
    this.#signal.addEventListener("abort", abort, { once: true });
    if (socket.destroyed) over();
    if (this.#signal.aborted) abort();
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      socket.off("readable", resolve);
      socket.off("close", over);
      socket.off("end", over);
      this.#signal.removeEventListener("abort", abort);
    }
  }

  readonly #ignore = (): void => {};
}

const refused = (message: string): Error => Object.assign(new Error(message), { code: "ECONNREFUSED" });
