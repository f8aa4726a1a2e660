import fc from "fast-check";
import { expect, test } from "vitest";
import { SandboxError } from "../../../contract/index.ts";
import type { GuestProcess, OutputHandler, ProcessExit, ProcessSpec } from "../../guest/index.ts";
import { encodeMessage } from "./messages.ts";
import { GuestFiles } from "./sandbox-files.ts";
import { watchFiles } from "./watch.ts";

/** A watching process whose end and output the test decides. */
class ScriptedGuest {
  readonly exit = Promise.withResolvers<ProcessExit>();
  readonly exited = this.exit.promise;
  spec: ProcessSpec | undefined;
  released = false;
  acked = 0;
  private handler: OutputHandler | undefined;
  private offset = 0;

  constructor() {
    this.exited.catch(() => {});
  }
  readonly start = async (spec: ProcessSpec) => {
    this.spec = spec;
    return this as unknown as GuestProcess;
  };
  onOutput(handler: OutputHandler): void {
    this.handler = handler;
  }
  ack(_stream: string, offset: number): void {
    this.acked = offset;
  }
  release(): void {
    this.released = true;
    this.exit.reject(new SandboxError("cancelled", "released"));
  }
  say(bytes: Buffer, stream: "stdout" | "stderr" = "stdout"): void {
    void this.handler!(stream, this.offset, bytes);
    this.offset += bytes.length;
  }
}

const READY = encodeMessage({ op: "ready", watches: 1 });
const changes = (...all: Record<string, unknown>[]) => encodeMessage({ op: "changes", changes: all });
const created = (path: string | Buffer) => changes({ type: "created", path: Buffer.from(path) });

async function begin(signal?: AbortSignal) {
  const guest = new ScriptedGuest();
  const watching = watchFiles(guest.start, "box", { path: "/a" }, signal);
  await Promise.resolve();
  guest.say(READY);
  return { guest, watch: await watching };
}

test("it begins when the guest is ready, and tells what it says", async () => {
  const guest = new ScriptedGuest();
  let begun = false;
  const watching = watchFiles(
    guest.start,
    "box",
    { path: "/a", recursive: true, exclude: ["é*"] },
    undefined,
  ).finally(() => {
    begun = true;
  });
  await new Promise(setImmediate);
  expect([guest.spec, begun]).toEqual([
    { argv: ["watch", "2f61", "recursive", "c3a92a"], builtin: "watch" },
    false,
  ]);
  guest.say(READY);
  const watch = await watching;
  const message = changes(
    { type: "moved", path: Buffer.from("b/c"), from: Buffer.from("a"), folder: true },
    { type: "removed", path: Buffer.from([0x61, 0xff]), more: 1 },
    { type: "attributes", path: Buffer.alloc(0), folder: false },
    { type: "overflow" },
  );
  guest.say(message.subarray(0, 7));
  guest.say(message.subarray(7));
  expect((await watch.next()).value).toEqual([
    { type: "moved", path: "b/c", from: "a", isFolder: true },
    { type: "removed", path: "base64:Yf8=", isFolder: false },
    { type: "attributes", path: "", isFolder: false },
    { type: "overflow", path: "", isFolder: false },
  ]);
  guest.exit.resolve({ code: 0 });
  expect((await watch.next()).done).toBe(true);
  expect(guest.released).toBe(true);
});

test("a sandbox that is watched is not idle", async () => {
  let users = 0;
  const busy = () => {
    users++;
    return () => users--;
  };
  async function* reading<T>(source: AsyncIterable<T>) {
    const done = busy();
    try {
      yield* source;
    } finally {
      done();
    }
  }
  const guest = new ScriptedGuest();
  const watching = new GuestFiles("box", { busy, reading }, guest.start).watch({ path: "/a" });
  await Promise.resolve();
  guest.say(READY);
  const watch = await watching;
  const next = watch.next();
  expect(users).toBe(1);
  guest.exit.resolve({ code: 0 });
  await next;
  expect(users).toBe(0);
});

test("what is not taken is not acknowledged", async () => {
  const { guest, watch } = await begin();
  guest.say(created("a"));
  guest.say(created("b"));
  await new Promise(setImmediate);
  expect(guest.acked).toBe(0);
  await watch.next();
  await watch.next();
  expect(guest.acked).toBe(READY.length + created("a").length);
  await watch.return(undefined);
  expect(guest.released).toBe(true);
});

test.each([
  ["a path that leaves", created("../x")],
  ["a path that leaves further below", created("a/../../x")],
  ["an absolute path", created("/etc")],
  ["a path with a NUL", created("a\0b")],
  ["an empty name", created("a//b")],
  ["an endless path", created("a".repeat(5000))],
  ["a path before that leaves", changes({ type: "moved", path: Buffer.from("a"), from: Buffer.from("..") })],
  ["a path before of no move", changes({ type: "created", path: Buffer.from("a"), from: Buffer.from("b") })],
  ["no path", changes({ type: "created" })],
  ["an unknown type", changes({ type: "eaten", path: Buffer.from("a") })],
  ["a change that is none", encodeMessage({ op: "changes", changes: [1] })],
  ["a second ready", READY],
  ["an endless message", Buffer.from("ffffffff", "hex")],
  ["what is no CBOR", Buffer.from("0000000201ff", "hex")],
])("%s ends it", async (_, bytes) => {
  const { guest, watch } = await begin();
  guest.say(bytes);
  await expect(watch.next()).rejects.toMatchObject({ code: "internal" });
  expect(guest.released).toBe(true);
});

test("a guest that is not ready first, or ends, is told as it says", async () => {
  const early = new ScriptedGuest();
  const first = watchFiles(early.start, "box", { path: "/a" }, undefined);
  await Promise.resolve();
  early.say(created("a"));
  await expect(first).rejects.toMatchObject({ code: "internal" });

  const missing = new ScriptedGuest();
  const second = watchFiles(missing.start, "box", { path: "/a" }, undefined);
  await Promise.resolve();
  missing.say(Buffer.from("not_found: watch /a: no such file\n"), "stderr");
  missing.exit.resolve({ code: 1 });
  await expect(second).rejects.toMatchObject({ code: "not_found", message: "watch /a: no such file" });

  const silent = new ScriptedGuest();
  const third = watchFiles(silent.start, "box", { path: "/a" }, undefined);
  silent.exit.resolve({ code: 0 });
  await expect(third).rejects.toMatchObject({ code: "internal" });

  const killed = await begin();
  killed.guest.exit.resolve({ signal: 15 });
  await expect(killed.watch.next()).rejects.toMatchObject({ code: "unavailable" });

  const stop = new AbortController();
  const { guest, watch } = await begin(stop.signal);
  const next = watch.next();
  stop.abort();
  await expect(next).rejects.toMatchObject({ code: "cancelled" });
  expect(guest.released).toBe(true);
});

test("whatever the guest sends, the host does not fall over, and no path leaves", async () => {
  const part = fc.constantFrom("a", "..", ".", "", "\0", "/", "base64:");
  await fc.assert(
    fc.asyncProperty(
      fc.array(part, { maxLength: 5 }),
      fc.uint8Array({ maxLength: 40 }),
      async (parts, junk) => {
        const { guest, watch } = await begin();
        guest.say(created(parts.join("/")));
        guest.say(Buffer.from(junk));
        guest.exit.resolve({ code: 0 });
        try {
          for await (const several of watch) {
            for (const { path } of several) {
              const bytes = path.startsWith("base64:")
                ? Buffer.from(path.slice(7), "base64").toString()
                : path;
              expect(bytes.startsWith("/") || bytes.split("/").includes("..")).toBe(false);
            }
          }
        } catch (error) {
          expect(error).toMatchObject({ code: "internal" });
        }
      },
    ),
  );
});
