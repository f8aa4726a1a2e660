import fc from "fast-check";
import { expect, test } from "vitest";
import { SandboxError } from "../../contract/errors.ts";
import { sha256 } from "./digest.ts";
import { newOciImage, parseOciImage } from "./oci-image.ts";

const layer = `sha256:${"a".repeat(64)}` as const;
const image = {
  created: "2026-01-01T00:00:00Z",
  architecture: "amd64",
  os: "linux",
  config: { Cmd: ["sh"], Unknown: 1 },
  rootfs: { type: "layers", diff_ids: [layer] },
  history: [{ created_by: "ADD", empty_layer: null }],
  unknown: { kept: true },
};
const parse = (value: unknown) => parseOciImage(Buffer.from(JSON.stringify(value)));

test("an image is known by the sha256 of its bytes", () => {
  const bytes = Buffer.from(`${JSON.stringify(image)}\n`);
  expect(parseOciImage(bytes)).toMatchObject({
    digest: sha256(bytes),
    layers: [layer],
    config: { cmd: ["sh"] },
    oci: { unknown: { kept: true } },
  });
  expect(parseOciImage(bytes).digest).not.toBe(parse(image).digest);
});

test.each([
  [{ ...image, os: undefined }, "os"],
  [{ ...image, rootfs: { type: "other", diff_ids: [] } }, "rootfs.type"],
  [{ ...image, rootfs: { type: "layers", diff_ids: ["sha512:00"] } }, "rootfs.diff_ids.0"],
  [{ ...image, rootfs: { type: "layers", diff_ids: Array.from({ length: 128 }, () => layer) } }, "diff_ids"],
  [{ ...image, history: Array.from({ length: 5000 }, () => ({})) }, "history"],
  [{ ...image, config: { Env: ["=x"] } }, "Env"],
  [[], "it"],
])("what is wrong with a configuration is named: %#", (value, field) => {
  expect(() => parse(value)).toThrow(
    expect.objectContaining({ code: "invalid_argument", message: expect.stringContaining(field) }),
  );
});

test("noise is refused, and nothing else is thrown", () => {
  expect(() => parseOciImage(Buffer.alloc(9 * 2 ** 20))).toThrow(/9437184 bytes/);
  expect(() => parseOciImage(Buffer.from([0x7b, 0xff]))).toThrow(/not JSON/);
  fc.assert(
    fc.property(fc.json(), (text) => {
      try {
        parseOciImage(Buffer.from(text));
      } catch (error) {
        expect(error).toBeInstanceOf(SandboxError);
      }
    }),
    { numRuns: 2000, seed: 1 },
  );
});

test("the same root file system and configuration make the same image", () => {
  const one = newOciImage([layer], { cmd: ["sh"], labels: { b: "2", a: "1" } }, "imported");
  expect(newOciImage([layer], { labels: { a: "1", b: "2" }, cmd: ["sh"] }, "imported")).toEqual(one);
  expect(parseOciImage(one)).toMatchObject({ layers: [layer], config: { cmd: ["sh"], workdir: "/" } });
});
