import fc from "fast-check";
import { expect, test } from "vitest";
import { Fields } from "../../guest/index.ts";
import { encodeMessage, MAX_MESSAGE_BYTES, MessageReader } from "./messages.ts";

test("messages come out whole, however they are cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1 }),
      (bodies, cuts) => {
        const all = Buffer.concat(bodies.map((data, id) => encodeMessage({ op: "write", id, data })));
        const reader = new MessageReader();
        const got: Buffer[] = [];
        for (let at = 0, i = 0; at < all.length; i++) {
          const cut = cuts[i % cuts.length]!;
          got.push(...reader.push(all.subarray(at, at + cut)));
          at += cut;
        }
        expect(got.map((one) => Fields.ofMessage(one, "it").bytes("data", 3000))).toEqual(
          bodies.map((data) => Buffer.from(data)),
        );
      },
    ),
  );
});

test("a length out of bounds is a violation before anything of it is kept", () => {
  for (const length of [0, MAX_MESSAGE_BYTES + 1, 2 ** 32 - 1]) {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(length);
    expect(() => new MessageReader().push(head)).toThrow(`a message of ${length} bytes`);
  }
});

test("the messages of the specification", () => {
  // spec/agent-protocol.md, "files": the example there.
  const bytes = encodeMessage({ op: "stat", path: Buffer.from("/a"), id: 1 });
  expect(bytes.toString("hex")).toBe("00000015a362696401626f7064737461746470617468422f61");
});
