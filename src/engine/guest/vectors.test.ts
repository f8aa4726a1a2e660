import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { vectorFiles } from "../../../spec/vectors/generate.ts";
import type { SandboxError } from "../../contract/errors.ts";
import { type Cbor, decodeCbor, encodeCbor } from "./cbor.ts";
import { encodeFrame, type Frame } from "./frame.ts";
import { FrameDecoder } from "./frame-decoder.ts";
import { SyncHunter } from "./sync.ts";
import { HuntingReceiver } from "./testing/hunting-receiver.ts";

const files = vectorFiles();

function load<T>(name: string): T[] {
  return JSON.parse(readFileSync(new URL(`../../../spec/vectors/${name}`, import.meta.url), "utf8")) as T[];
}

interface FrameJson {
  channel: number;
  type: number;
  stream: number;
  payload: string;
}

function toJson(frame: Frame): FrameJson {
  const { channel, type, stream, payload } = frame;
  return { channel, type, stream, payload: payload.toString("hex") };
}

/** What a decoder reads of `bytes` in chunks of `size`, and what stopped it. */
function read(decoder: FrameDecoder, bytes: Buffer, size: number): { frames: FrameJson[]; error?: string } {
  const frames: FrameJson[] = [];
  try {
    for (let at = 0; at < bytes.length; at += size) {
      for (const frame of decoder.push(bytes.subarray(at, at + size))) frames.push(toJson(frame));
    }
  } catch (error) {
    return { frames, error: String((error as SandboxError).details?.fault) };
  }
  return decoder.midFrame ? { frames, error: "truncated" } : { frames };
}

const SIZES = [1, 7, 13, 100_000];

test.each(Object.keys(files))("%s is what the generator makes", (name) => {
  expect(readFileSync(new URL(`../../../spec/vectors/${name}`, import.meta.url), "utf8")).toBe(files[name]);
});

describe("frames.json", () => {
  test.each(load<{ name: string; hex: string; frames: FrameJson[]; error?: string }>("frames.json"))(
    "$name",
    ({ hex, frames, error }) => {
      const expected = error === undefined ? { frames } : { frames, error };
      for (const size of SIZES) {
        expect(read(new FrameDecoder(), Buffer.from(hex, "hex"), size)).toEqual(expected);
      }
      if (error !== undefined) return;
      const encoded = frames.map(({ payload, ...rest }) =>
        encodeFrame({ ...rest, payload: Buffer.from(payload, "hex") } as Frame),
      );
      expect(Buffer.concat(encoded.flat()).toString("hex")).toBe(hex);
    },
  );
});

/** A decoded value as it stands in control.json. */
function valueJson(value: Cbor): unknown {
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("hex") };
  if (typeof value === "bigint") return { $uint: String(value) };
  if (Array.isArray(value)) return value.map(valueJson);
  if (value instanceof Map) return Object.fromEntries([...value].map(([k, v]) => [k, valueJson(v)]));
  return value;
}

/** The reverse: what an encoder is given. */
function fromJson(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value !== "object" || value === null) return value;
  if ("$bytes" in value) return Buffer.from(String(value.$bytes), "hex");
  if ("$uint" in value) return BigInt(String(value.$uint));
  return new Map(Object.entries(value).map(([k, v]) => [k, fromJson(v)]));
}

describe("control.json", () => {
  test.each(load<{ name: string; hex: string; value: unknown }>("control.json"))(
    "$name",
    ({ hex, value }) => {
      expect(valueJson(decodeCbor(Buffer.from(hex, "hex")))).toEqual(value);
      const encoded = encodeCbor(fromJson(value));
      expect(encoded.length).toBe(hex.length / 2);
      expect(valueJson(decodeCbor(encoded))).toEqual(value);
    },
  );
});

describe("control-invalid.json", () => {
  test.each(load<{ name: string; hex: string }>("control-invalid.json"))("$name", ({ hex }) => {
    expect(() => decodeCbor(Buffer.from(hex, "hex"))).toThrow(
      /^the guest agent broke the protocol: malformed CBOR/,
    );
  });
});

interface SyncVector {
  name: string;
  role: "guest" | "host";
  nonce?: string;
  hex: string;
  frames: FrameJson[];
  error?: string;
}

describe("sync.json", () => {
  const vectors = load<SyncVector>("sync.json");

  test.each(vectors.filter((vector) => vector.role === "host"))("$name", ({ hex, nonce, frames, error }) => {
    const bytes = Buffer.from(hex, "hex");
    for (const size of SIZES) {
      const hunter = new SyncHunter(Buffer.from(nonce!, "hex"));
      let rest: Buffer | undefined;
      let at = 0;
      while (at < bytes.length && rest === undefined) {
        rest = hunter.push(bytes.subarray(at, at + size));
        at += size;
      }
      const following = Buffer.concat([rest ?? Buffer.alloc(0), bytes.subarray(at)]);
      const expected = error === undefined ? { frames } : { frames, error };
      expect(read(new FrameDecoder(), following, size)).toEqual(expected);
    }
  });

  // The guest's side is the agent's; here the vectors hold the tests' own model of it to the protocol.
  test.each(vectors.filter((vector) => vector.role === "guest"))("$name", ({ hex, nonce, frames }) => {
    const bytes = Buffer.from(hex, "hex");
    for (const size of SIZES) {
      const receiver = new HuntingReceiver((frame) => {
        if (frame.channel !== 0 || frame.type !== 1) return false;
        const message = decodeCbor(frame.payload);
        return message instanceof Map && message.get("op") === "hello";
      });
      const accepted: Frame[] = [];
      for (let at = 0; at < bytes.length; at += size)
        accepted.push(...receiver.push(bytes.subarray(at, at + size)));
      expect(accepted.map(toJson)).toEqual(frames);
      expect(receiver.nonce?.toString("hex")).toBe(nonce);
    }
  });
});
