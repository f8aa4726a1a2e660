import fc from "fast-check";
import { expect, test } from "vitest";
import { MAX_REQUEST_BYTES } from "./fuse-protocol.ts";
import { NONCE_BYTES, RequestStream, SYNC_MAGIC, syncMessage } from "./request-stream.ts";

const nonce = Buffer.alloc(NONCE_BYTES, 7);
const opened = (repeated = 0) => {
  const stream = new RequestStream(nonce);
  const count = Buffer.alloc(4);
  count.writeUInt32LE(repeated);
  for (const _ of stream.push(Buffer.concat([SYNC_MAGIC, nonce, count]))) throw new Error("a request");
  return stream;
};

function request(opcode: number, body: Buffer): Buffer {
  const bytes = Buffer.alloc(40 + body.length);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt32LE(opcode, 4);
  bytes.writeBigUInt64LE(5n, 16);
  body.copy(bytes, 40);
  return bytes;
}

test("cuts requests out of any pieces, and marks those that are repeated", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 50 }),
      fc.nat(3),
      (bodies, cuts, repeated) => {
        const all = Buffer.concat(bodies.map((body, i) => request(i, Buffer.from(body))));
        const stream = opened(repeated);
        const seen: [number, string, boolean][] = [];
        for (let at = 0, i = 0; at < all.length; i++) {
          const end = at + cuts[i % cuts.length]!;
          for (const r of stream.push(all.subarray(at, end)))
            seen.push([r.opcode, r.body.toString("hex"), r.repeated]);
          at = end;
        }
        expect(seen).toEqual(bodies.map((body, i) => [i, Buffer.from(body).toString("hex"), i < repeated]));
      },
    ),
  );
});

test("skips what an earlier daemon had not read, up to a bound", () => {
  const stream = new RequestStream(nonce);
  const stale = Buffer.concat([Buffer.alloc(1000, 1), SYNC_MAGIC, Buffer.alloc(NONCE_BYTES, 8)]);
  expect([...stream.push(stale)]).toEqual([]);
  const sync = Buffer.concat([SYNC_MAGIC, nonce, Buffer.alloc(4), request(3, Buffer.alloc(0))]);
  expect([...stream.push(sync.subarray(0, 9))]).toEqual([]);
  expect([...stream.push(sync.subarray(9))].map(({ opcode, node }) => [opcode, node])).toEqual([[3, 5]]);
  const endless = new RequestStream(nonce);
  expect(() => {
    for (let i = 0; i < 100; i++) [...endless.push(Buffer.alloc(64 * 1024))];
  }).toThrow("does not synchronize");
});

test("refuses lengths that no request has", () => {
  for (const length of [0, 39, MAX_REQUEST_BYTES + 1, 0xffffffff]) {
    const bytes = request(1, Buffer.alloc(0));
    bytes.writeUInt32LE(length, 0);
    expect(() => [...opened().push(bytes)]).toThrow(`a request of ${length} bytes`);
  }
});

test("whatever comes, it ends or goes on, and never throws anything else", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 2000 }), { maxLength: 30 }), (chunks) => {
      const stream = opened();
      try {
        for (const chunk of chunks) for (const _ of stream.push(Buffer.from(chunk)));
      } catch (error) {
        expect(error).toMatchObject({ code: "internal" });
      }
    }),
  );
});

test("the filler completes the longest answer", () => {
  expect(syncMessage(nonce, true).length - syncMessage(nonce, false).length).toBeGreaterThan(
    MAX_REQUEST_BYTES,
  );
});
