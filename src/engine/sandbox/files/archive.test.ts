import { expect, test } from "vitest";
import { SandboxError } from "../../../contract/index.ts";
import type { GuestProcess, OutputHandler, ProcessExit, ProcessSpec } from "../../guest/index.ts";
import { extractFiles, packFiles } from "./archive.ts";

/** A process whose end and output the test decides. */
class ScriptedGuest {
  readonly exit = Promise.withResolvers<ProcessExit>();
  readonly exited = this.exit.promise;
  readonly written: Buffer[] = [];
  spec: ProcessSpec | undefined;
  stdinEnded = false;
  released = false;
  private handler: OutputHandler | undefined;
  private over = false;

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
  ack(): void {}
  async write(chunk: Buffer): Promise<void> {
    if (this.over) throw new SandboxError("invalid_state", "it takes no more");
    this.written.push(chunk);
  }
  endStdin(): void {
    this.stdinEnded = true;
    this.end(0);
  }
  release(): void {
    this.released = true;
    this.exit.reject(new SandboxError("cancelled", "released"));
  }
  say(stream: "stdout" | "stderr", text: string): void {
    void this.handler!(stream, 0, Buffer.from(text));
  }
  end(code: number): void {
    this.over = true;
    this.exit.resolve({ code });
  }
}

async function* pieces(...all: Uint8Array[]) {
  yield* all;
}
async function* never(): AsyncGenerator<Uint8Array> {
  yield Buffer.from("a");
  await new Promise(() => {});
}
const text = (guest: ScriptedGuest) => Buffer.concat(guest.written).toString();

test("paths go as bytes, and the guest's error comes back with its code", async () => {
  const guest = new ScriptedGuest();
  const tar = await packFiles(guest.start, "box", { path: "base64:L2H/", follow: true }, undefined);
  expect(guest.spec).toEqual({ argv: ["archive", "2f61ff", "follow"], builtin: "archive" });
  const first = tar.next();
  guest.say("stdout", "half");
  expect((await first).value?.toString()).toBe("half");
  guest.say("stderr", "not_found: cannot read /a\x1b[2J\nmore");
  guest.end(1);
  await expect(tar.next()).rejects.toMatchObject({
    code: "not_found",
    message: expect.stringContaining("cannot read /a\uFFFD[2J"),
  });
  expect(guest.released).toBe(true);
});

test("what the guest says in words of its own is no code", async () => {
  for (const said of ["", "all_is_well: yes", "panic: out of memory"]) {
    const guest = new ScriptedGuest();
    const tar = await packFiles(guest.start, "box", { path: "/a" }, undefined);
    const first = tar.next();
    if (said !== "") guest.say("stderr", said);
    guest.end(2);
    await expect(first).rejects.toMatchObject({
      code: "internal",
      message: expect.stringContaining("read /a in sandbox 'box'"),
    });
  }
});

test("a tar is given to the end, in pieces, with whose it becomes", async () => {
  const guest = new ScriptedGuest();
  const big = Buffer.alloc(150_000, 7);
  await extractFiles(guest.start, "box", { path: "/a", uid: 3 }, pieces(big, Buffer.from("b")), undefined);
  expect(guest.spec).toEqual({ argv: ["extract", "2f61", "3", "0"], builtin: "extract", stdin: true });
  expect(Buffer.concat(guest.written).equals(Buffer.concat([big, Buffer.from("b")]))).toBe(true);
  expect(Math.max(...guest.written.map(({ length }) => length))).toBe(64 * 1024);
  expect([guest.stdinEnded, guest.released]).toEqual([true, true]);
  const kept = new ScriptedGuest();
  await extractFiles(kept.start, "box", { path: "/", keepOwners: true }, pieces(), undefined);
  expect(kept.spec?.argv).toEqual(["extract", "2f", "keep"]);
});

test("a process that gives up says why, whether or not more of the tar comes", async () => {
  const waiting = new ScriptedGuest();
  const done = extractFiles(waiting.start, "box", { path: "/a" }, never(), undefined);
  await expect.poll(() => text(waiting)).toBe("a");
  waiting.say("stderr", "already_exists: cannot make x");
  waiting.end(1);
  await expect(done).rejects.toMatchObject({ code: "already_exists", message: "cannot make x" });

  const refusing = new ScriptedGuest();
  const going = extractFiles(
    refusing.start,
    "box",
    { path: "/a" },
    (async function* () {
      yield Buffer.from("a");
      refusing.say("stderr", "not_found: no /a");
      refusing.end(1);
      yield Buffer.from("b");
      yield Buffer.from("c");
    })(),
    undefined,
  );
  await expect(going).rejects.toMatchObject({ code: "not_found", message: "no /a" });
});

test("a tar that breaks off, or a cancelled call, is not taken for a whole one", async () => {
  const broken = new ScriptedGuest();
  const failing = (async function* () {
    yield Buffer.from("a");
    throw new Error("no more");
  })();
  await expect(extractFiles(broken.start, "box", { path: "/a" }, failing, undefined)).rejects.toThrow(
    "no more",
  );
  expect([broken.stdinEnded, broken.released]).toEqual([false, true]);

  const cancelled = new ScriptedGuest();
  const stop = new AbortController();
  const done = extractFiles(cancelled.start, "box", { path: "/a" }, never(), stop.signal);
  await expect.poll(() => text(cancelled)).toBe("a");
  stop.abort();
  await expect(done).rejects.toMatchObject({ code: "cancelled" });
  expect(cancelled.stdinEnded).toBe(false);
});
