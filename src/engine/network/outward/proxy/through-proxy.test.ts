import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { ip } from "../../testing/policy-of.ts";
import { throughProxy } from "./through-proxy.ts";

const signal = new AbortController().signal;

/** A proxy that answers each message of its client with the next of these, and then echoes. */
async function proxy(...answers: string[]) {
  const asked: string[] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      asked.push(bytes.toString("latin1"));
      socket.write(Buffer.from(answers.shift() ?? bytes.toString("latin1"), "latin1"));
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { asked, at: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

const echoed = async (socket: Socket) => {
  socket.write("ping");
  const [bytes] = await once(socket, "data");
  socket.destroy();
  return bytes.toString();
};

const OK = "\x05\0\0\x01\x7f\0\0\x01\0\x50";

test("SOCKS5: the address goes to the proxy, as bytes; then the connection is the guest's", async () => {
  const { asked, at } = await proxy("\x05\0", OK);
  const socket = await throughProxy(`socks5://${at}`).dial(ip("8.8.8.8"), 443, { timeoutMs: 5000, signal });
  expect(asked).toEqual(["\x05\x01\0", "\x05\x01\0\x01\x08\x08\x08\x08\x01\xbb"]);
  expect(await echoed(socket)).toBe("ping");
});

test("SOCKS5 with a login, and IPv6", async () => {
  const { asked, at } = await proxy("\x05\x02", "\x01\0", OK);
  const socket = await throughProxy(`socks5://me:s%3Acret@${at}`).dial(ip("2a00::1"), 80, {
    timeoutMs: 5000,
    signal,
  });
  expect(asked[1]).toBe("\x01\x02me\x06s:cret");
  expect(asked[2]).toBe(`\x05\x01\0\x04\x2a${"\0".repeat(14)}\x01\0\x50`);
  expect(await echoed(socket)).toBe("ping");
});

test("HTTP CONNECT: bytes right after the head belong to the guest", async () => {
  const { asked, at } = await proxy("HTTP/1.1 200 OK\r\nX: y\r\n\r\nearly");
  const socket = await throughProxy(`http://a:b@${at}`).dial(ip("2a00::1"), 443, { timeoutMs: 5000, signal });
  expect(asked[0]).toMatch(/^CONNECT \[2a00::1\]:443 HTTP\/1\.1\r\n/);
  expect(asked[0]).toContain("Proxy-Authorization: Basic YTpi\r\n");
  const [bytes] = await once(socket, "data");
  expect(bytes.toString()).toBe("early");
  socket.destroy();
});

test.each([
  ["socks5", ["\x05\xff"], "ECONNREFUSED"],
  ["socks5", ["\x05\0", "\x05\x04\0\x01"], "EHOSTUNREACH"],
  ["socks5", ["\x05\0", "\x05\x03\0\x01"], "ENETUNREACH"],
  ["http", ["HTTP/1.1 403 No\r\n\r\n"], "ECONNREFUSED"],
  ["http", ["nonsense\r\n\r\n"], "ECONNREFUSED"],
  ["http", ["x".repeat(9000)], "ECONNREFUSED"],
  ["http", [""], "ETIMEDOUT"],
])("%s: a proxy that answers %j fails the dial with %s", async (scheme, answers, code) => {
  const { at } = await proxy(...answers);
  const timeoutMs = code === "ETIMEDOUT" ? 20 : 5000;
  await expect(
    throughProxy(`${scheme}://${at}`).dial(ip("8.8.8.8"), 443, { timeoutMs, signal }),
  ).rejects.toMatchObject({ code });
});

test.each(["", "https://x", "socks4://x:1", "x:1", "http://", "http://a:%zz@x:1"])(
  "%j is no proxy",
  (url) => {
    expect(() => throughProxy(url)).toThrow("no URL of a SOCKS5 or HTTP proxy");
  },
);
