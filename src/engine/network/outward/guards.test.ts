import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { connect as connectTls } from "node:tls";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { hello, helloMessage, inRecords, serverName } from "../testing/client-hello.ts";
import type { Guard, GuardResult, NameCheck } from "./guard.ts";
import { HttpGuard } from "./http-guard.ts";
import { NameGuard } from "./name-guard.ts";
import { TlsGuard } from "./tls-guard.ts";

const onlyGood: NameCheck = (name) => (name === "good.example" ? undefined : `not ${name}`);

/** All that goes out, and why it ended if it did; pieces of `size` bytes. */
function through(guard: Guard, bytes: Buffer, size = bytes.length): { out: string; refused?: string } {
  const out: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    const { pass, refusal }: GuardResult = guard.push(bytes.subarray(at, at + size));
    out.push(...pass);
    if (refusal !== undefined) return { out: Buffer.concat(out).toString("latin1"), refused: refusal.reason };
  }
  return { out: Buffer.concat(out).toString("latin1") };
}

const SIZES = [1, 2, 5, 7, 64, 100_000];
const APP_DATA = inRecords(Buffer.alloc(40, 0xab), 40, 23);
const CHANGE_CIPHER = Buffer.from("140303000101", "hex");

test.each(SIZES)("a ClientHello with the right name goes out as it is, in pieces of %i", (size) => {
  const bytes = Buffer.concat([hello("Good.example"), CHANGE_CIPHER, APP_DATA]);
  expect(through(new TlsGuard(onlyGood), bytes, size)).toEqual({ out: bytes.toString("latin1") });
});

test.each([1, 3, 50])("so does one over records of %i bytes", (record) => {
  const bytes = Buffer.concat([hello("good.example", record), APP_DATA]);
  for (const size of SIZES)
    expect(through(new TlsGuard(onlyGood), bytes, size)).toEqual({ out: bytes.toString("latin1") });
});

const twice = Buffer.concat([serverName("good.example"), serverName("evil.example")]);
const listOfTwo = (() => {
  const entry = (name: string) => Buffer.concat([Buffer.of(0, 0, name.length), Buffer.from(name)]);
  const list = Buffer.concat([entry("good.example"), entry("evil.example")]);
  return Buffer.concat([Buffer.of(0, 0, 0, list.length + 2, 0, list.length), list]);
})();

/** With three bytes more at its end. */
function longer(message: Buffer): Buffer {
  const bytes = Buffer.concat([message, Buffer.alloc(3)]);
  bytes.writeUIntBE(bytes.length - 4, 1, 3);
  return bytes;
}

test.each<[what: string, bytes: Buffer, why: string]>([
  ["another name", hello("evil.example"), "not evil.example"],
  ["another name in tiny records", hello("evil.example", 1), "not evil.example"],
  ["no name", hello(), "not undefined"],
  ["a name with a NUL", hello("good.example\0.evil.example"), "no host name"],
  ["an address", hello("1.2.3.4"), "no host name"],
  ["two lists of names", inRecords(helloMessage([twice])), "two lists"],
  ["a list of two names", inRecords(helloMessage([listOfTwo])), "something else than one name"],
  [
    "bytes after the extensions",
    inRecords(longer(helloMessage([serverName("good.example")]))),
    "other bytes",
  ],
  ["an alert first", Buffer.from("15030300020228", "hex"), "without a ClientHello"],
  ["another message first", inRecords(Buffer.from("02000004030300000000", "hex")), "without a ClientHello"],
  [
    "an SSLv2 ClientHello in a record",
    inRecords(Buffer.from("010000ff0002", "hex")),
    "without a ClientHello",
  ],
  ["a record that is too long", Buffer.from("160301ffff", "hex"), "not TLS"],
  ["a version that there is not", Buffer.from("1605010010", "hex"), "not TLS"],
  ["an empty record", Buffer.from("1603010000", "hex"), "pieces"],
  [
    "a ClientHello of 64 KiB",
    inRecords(Buffer.concat([Buffer.from("0100ffff0303", "hex"), Buffer.alloc(100)])),
    "16 KiB",
  ],
  [
    "other records inside of it",
    Buffer.concat([inRecords(helloMessage([serverName("good.example")]).subarray(0, 50)), CHANGE_CIPHER]),
    "without a ClientHello",
  ],
])("a TLS client with %s is refused, and nothing goes out", (_, bytes, why) => {
  for (const size of SIZES) {
    expect(through(new TlsGuard(onlyGood), bytes, size)).toEqual({
      out: "",
      refused: expect.stringContaining(why),
    });
  }
});

test.each<[what: string, between: Buffer]>([
  ["at once", Buffer.alloc(0)],
  ["after the compatibility record", CHANGE_CIPHER],
  ["after early data", APP_DATA],
])("a second ClientHello with another name is refused %s (HelloRetryRequest)", (_, between) => {
  const before = Buffer.concat([hello("good.example"), between]);
  for (const size of SIZES) {
    for (const record of [1, 4, 1000]) {
      const { out, refused } = through(
        new TlsGuard(onlyGood),
        Buffer.concat([before, hello("evil.example", record)]),
        size,
      );
      expect(refused).toBe("not evil.example");
      expect(out).toBe(before.toString("latin1").slice(0, out.length));
    }
    const again = Buffer.concat([before, hello("good.example"), APP_DATA]);
    expect(through(new TlsGuard(onlyGood), again, size).out).toBe(again.toString("latin1"));
  }
});

test.each([1, 4, 5, 50])(
  "a second ClientHello is not hidden by a record after its first %i bytes",
  (bytes) => {
    const message = helloMessage([serverName("evil.example")]);
    const split = [inRecords(message.subarray(0, bytes)), CHANGE_CIPHER, inRecords(message.subarray(bytes))];
    const { refused } = through(new TlsGuard(onlyGood), Buffer.concat([hello("good.example"), ...split]));
    expect(refused).toBe("a ClientHello with other records in between");
  },
);

test("what a real TLS client sends is read", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = connectTls({ port, host: "127.0.0.1", servername: "good.example" });
  client.on("error", () => {});
  const [socket] = await once(server, "connection");
  const [bytes] = await once(socket, "data");
  let found: string | undefined;
  const guard = new TlsGuard((name) => {
    found = name;
    return undefined;
  });
  expect(through(guard, bytes).out).toBe(bytes.toString("latin1"));
  expect(found).toBe("good.example");
  client.destroy();
  socket.destroy();
});

const http = (text: string) => Buffer.from(text.replaceAll("\n", "\r\n"), "latin1");
const GET = http("GET / HTTP/1.1\nHost: good.example\n\n");

test.each<[what: string, bytes: Buffer]>([
  ["a request", GET],
  ["two in a row", Buffer.concat([GET, GET])],
  ["a port in the host", http("GET / HTTP/1.1\nHost: GOOD.example:8080\n\n")],
  ["a URL as target", http("GET http://good.example/x HTTP/1.1\nHost: good.example\n\n")],
  [
    "a body that looks like a request, and another request",
    Buffer.concat([
      http("POST / HTTP/1.1\nHost: good.example\nContent-Length: 19\n\nHost: evil.example\n").subarray(0, -1),
      GET,
    ]),
  ],
  [
    "chunks with a trailer, and another request",
    Buffer.concat([
      http(
        "POST / HTTP/1.1\nHost: good.example\nTransfer-Encoding: chunked\n\n5\nabcde\nA;x=y\n0123456789\n0\nX: y\n\n",
      ),
      GET,
    ]),
  ],
  ["an HTTP/1.0 request with a host", http("GET / HTTP/1.0\nHost: good.example\n\n")],
])("HTTP: %s goes out as it is", (_, bytes) => {
  for (const size of SIZES)
    expect(through(new HttpGuard(onlyGood), bytes, size)).toEqual({ out: bytes.toString("latin1") });
});

test.each<[what: string, text: string]>([
  ["another host", "GET / HTTP/1.1\nHost: evil.example\n\n"],
  ["two hosts", "GET / HTTP/1.1\nHost: good.example\nHost: evil.example\n\n"],
  ["no host", "GET / HTTP/1.1\nX: good.example\n\n"],
  ["an address", "GET / HTTP/1.1\nHost: 1.2.3.4\n\n"],
  ["HTTP/1.0 without host", "GET / HTTP/1.0\n\n"],
  ["a URL that says otherwise", "GET http://evil.example/ HTTP/1.1\nHost: good.example\n\n"],
  ["a host that says otherwise than the URL", "GET http://good.example/ HTTP/1.1\nHost: evil.example\n\n"],
  ["a URL with a user", "GET http://good.example@evil.example/ HTTP/1.1\nHost: good.example\n\n"],
  ["a target that is no path", "GET evil.example/ HTTP/1.1\nHost: good.example\n\n"],
  ["CONNECT", "CONNECT good.example:443 HTTP/1.1\nHost: good.example\n\n"],
  ["a folded host", "GET / HTTP/1.1\nHost: good.example\n .evil.example\n\n"],
  ["a folded field", "GET / HTTP/1.1\nHost: good.example\nX: a\n\tHost: evil.example\n\n"],
  ["a blank before the colon", "GET / HTTP/1.1\nHost : evil.example\nHost: good.example\n\n"],
  ["a host with a comma", "GET / HTTP/1.1\nHost: good.example, evil.example\n\n"],
  ["two blanks in the request line", "GET  / HTTP/1.1\nHost: good.example\n\n"],
  ["HTTP/2's version", "GET / HTTP/2.0\nHost: good.example\n\n"],
  ["an empty line first", "\nGET / HTTP/1.1\nHost: good.example\n\n"],
  [
    "a length and chunks",
    "POST / HTTP/1.1\nHost: good.example\nContent-Length: 3\nTransfer-Encoding: chunked\n\n",
  ],
  ["two lengths", "POST / HTTP/1.1\nHost: good.example\nContent-Length: 3\nContent-Length: 3\n\n"],
  ["a signed length", "POST / HTTP/1.1\nHost: good.example\nContent-Length: +3\n\n"],
  ["another coding", "POST / HTTP/1.1\nHost: good.example\nTransfer-Encoding: gzip, chunked\n\n"],
  ["an odd coding", "POST / HTTP/1.1\nHost: good.example\nTransfer-Encoding: xchunked\n\n"],
])("HTTP: %s is refused, and nothing goes out", (_, text) => {
  for (const size of SIZES)
    expect(through(new HttpGuard(onlyGood), http(text), size)).toEqual({
      out: "",
      refused: expect.any(String),
    });
});

test.each<[what: string, bytes: Buffer]>([
  [
    "bare line feeds",
    Buffer.from("GET / HTTP/1.1\nHost: good.example\n\nGET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
  ],
  [
    "a bare line feed between fields",
    Buffer.from("GET / HTTP/1.1\r\nHost: good.example\nHost: evil.example\r\n\r\n"),
  ],
  [
    "a bare carriage return",
    Buffer.from("GET / HTTP/1.1\r\nX: a\rHost: evil.example\r\nHost: good.example\r\n\r\n"),
  ],
  ["a NUL", Buffer.from("GET / HTTP/1.1\r\nHost: good.example\0\r\n\r\n")],
])("HTTP: %s are refused, and nothing goes out", (_, bytes) => {
  expect(through(new HttpGuard(onlyGood), bytes)).toEqual({ out: "", refused: expect.any(String) });
});

test.each<[what: string, second: string]>([
  ["after a request without a body", "GET / HTTP/1.1\nHost: evil.example\n\n"],
  [
    "smuggled behind a chunk",
    "POST / HTTP/1.1\nHost: good.example\nTransfer-Encoding: chunked\n\n0\n\nGET / HTTP/1.1\nHost: evil.example\n\n",
  ],
  [
    "with a malformed chunk before",
    "POST / HTTP/1.1\nHost: good.example\nTransfer-Encoding: chunked\n\n0x5\nabcde\n0\n\nGET / HTTP/1.1\nHost: evil.example\n\n",
  ],
  [
    "behind a body of no length",
    "GET / HTTP/1.1\nHost: good.example\nContent-Length: 0\n\nGET / HTTP/1.1\nHost: evil.example\n\n",
  ],
  [
    "as a WebSocket",
    "GET / HTTP/1.1\nHost: good.example\nUpgrade: websocket\n\nGET / HTTP/1.1\nHost: evil.example\n\n",
  ],
  ["as HTTP/2", "GET / HTTP/1.1\nHost: good.example\nUpgrade: h2c\n\nPRI * HTTP/2.0\n\nSM\n\n"],
])("HTTP: another host in a later request is refused %s", (_, second) => {
  for (const size of SIZES) {
    const { out, refused } = through(new HttpGuard(onlyGood), Buffer.concat([GET, http(second)]), size);
    expect(refused).toEqual(expect.any(String));
    expect(out).not.toContain("evil");
    expect(out).not.toContain("PRI");
  }
});

test("a WebSocket goes on when the server has agreed, and not before", () => {
  const upgrade = http("GET / HTTP/1.1\nHost: good.example\nUpgrade: WebSocket\n\n");
  const evil = http("GET / HTTP/1.1\nHost: evil.example\n\n");
  const agreed = new HttpGuard(onlyGood);
  expect(through(agreed, Buffer.concat([upgrade, Buffer.from("frame")])).out).toBe(upgrade.toString());
  expect(agreed.answered(Buffer.from("HTTP/1.1 "))).toBeUndefined();
  expect(Buffer.concat(agreed.answered(Buffer.from("101 Switching"))!.pass).toString()).toBe("frame");
  expect(through(agreed, evil).out).toBe(evil.toString());
  const declined = new HttpGuard(onlyGood);
  through(declined, Buffer.concat([upgrade, evil]));
  expect(declined.answered(Buffer.from("HTTP/1.1 200 OK"))?.refusal?.reason).toBe("not evil.example");
});

test.each<[what: string, bytes: string, refused: string]>([
  ["HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"],
  ["HTTP after blanks", " \r\nGET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "request line"],
  ["HTTP in small letters", "get / http/1.1\r\nhost: evil.example\r\n\r\n", "request line"],
  ["a line of 9,000 bytes", `GET /${"a".repeat(33_000)}`, "head of more than"],
  ["a greeting", "SSH-2.0-x\r\n", "neither TLS nor HTTP"],
  ["binary", "\0\0\0\b\x04\xd2\x16/", "neither TLS nor HTTP"],
  ["HTTP/0.9", "GET /\r\n", "neither TLS nor HTTP"],
])("%s is refused where only the web may pass", (_, text, why) => {
  const bytes = Buffer.from(text, "latin1");
  for (const size of SIZES)
    expect(through(new NameGuard(onlyGood, "refuse"), bytes, size)).toEqual({
      out: "",
      refused: expect.stringContaining(why),
    });
});

test("elsewhere other protocols pass, and TLS and HTTP are still looked into", () => {
  const pass = (bytes: Buffer) => through(new NameGuard(onlyGood, "pass"), bytes, 3);
  expect(pass(Buffer.from("SSH-2.0-x\r\nabc")).out).toBe("SSH-2.0-x\r\nabc");
  expect(pass(Buffer.from([0, 1, 2])).out).toBe("\0\x01\x02");
  expect(pass(hello("evil.example"))).toMatchObject({ out: "", refused: "not evil.example" });
  expect(pass(http("GET / HTTP/1.1\nHost: evil.example\n\n"))).toMatchObject({ out: "" });
  // Not clear yet: held.
  expect(pass(Buffer.from("GET / HTTP/1.1"))).toEqual({ out: "" });
});

test("whatever comes, nothing throws, and what goes out is what came in", () => {
  const seeds = [
    Buffer.concat([hello("good.example", 30), CHANGE_CIPHER, APP_DATA]),
    Buffer.concat([
      GET,
      http("POST / HTTP/1.1\nHost: good.example\nTransfer-Encoding: chunked\n\n5\nabcde\n0\n\n"),
      GET,
    ]),
  ];
  const mutated = fc
    .tuple(fc.constantFrom(...seeds), fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 3 }))
    .map(([seed, changes]) => {
      const bytes = Buffer.from(seed);
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      return bytes;
    });
  const input = fc.oneof(
    mutated,
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  );
  fc.assert(
    fc.property(input, fc.integer({ min: 1, max: 50 }), fc.boolean(), (bytes, size, web) => {
      const guard = new NameGuard(onlyGood, web ? "refuse" : "pass");
      const whole = bytes.toString("latin1");
      const { out, refused } = through(guard, bytes, size);
      expect(whole.startsWith(out)).toBe(true);
      // However it is cut, the decision is the same.
      const once = through(new NameGuard(onlyGood, web ? "refuse" : "pass"), bytes);
      expect(once.refused).toBe(refused);
    }),
    { numRuns: 3000 },
  );
});
