import fc from "fast-check";
import { expect, test } from "vitest";
import type { GuestProcess, OutputHandler, ProcessExit } from "../../guest/index.ts";
import { FilesProcess } from "./files-process.ts";
import { encodeMessage, MAX_MESSAGE_BYTES } from "./messages.ts";
import { pathBytes, pathText } from "./path-bytes.ts";
import { GuestFiles } from "./sandbox-files.ts";
import { readEntry, readStat, timeOf } from "./stat.ts";
import { readFile } from "./transfer.ts";

/** The guest's end, which may send what it likes. */
class ScriptedGuest {
  readonly channel = 1;
  readonly pid = 7;
  readonly written: Buffer[] = [];
  readonly exit = Promise.withResolvers<ProcessExit>();
  readonly exited = this.exit.promise;
  acked = 0;
  released = false;
  private handler: OutputHandler | undefined;
  private offset = 0;

  onOutput(handler: OutputHandler): void {
    this.handler = handler;
  }
  ack(_stream: string, offset: number): void {
    this.acked = offset;
  }
  async write(chunk: Buffer): Promise<void> {
    this.written.push(chunk);
  }
  release(): void {
    this.released = true;
    this.exit.reject(new Error("released"));
  }
  say(bytes: Buffer): void {
    void this.handler!("stdout", this.offset, bytes);
    this.offset += bytes.length;
  }
}

function begin(): { guest: ScriptedGuest; files: FilesProcess } {
  const guest = new ScriptedGuest();
  return { guest, files: new FilesProcess(guest as unknown as GuestProcess, "box") };
}

test("replies find their requests in any order, and all output is acknowledged", async () => {
  const { guest, files } = begin();
  const [a, b] = [files.request({ op: "x" }), files.request({ op: "y" })];
  const replies = Buffer.concat([
    encodeMessage({ id: 2, value: 22 }),
    encodeMessage({ id: 1, error: { code: "not_found", message: "no /a\x1b[2J" } }),
  ]);
  guest.say(replies);
  expect((await b).uint("value")).toBe(22);
  // What the guest says ends up on terminals.
  await expect(a).rejects.toMatchObject({ code: "not_found", message: "no /a\uFFFD[2J" });
  expect(guest.acked).toBe(replies.length);
});

test.each([
  ["a reply to nothing", encodeMessage({ id: 9 })],
  ["a reply without an id", encodeMessage({})],
  ["an endless message", Buffer.from("ffffffff", "hex")],
  ["what is no CBOR", Buffer.from("0000000201ff", "hex")],
])("%s ends the process and what waits", async (_, bytes) => {
  const { guest, files } = begin();
  const waiting = files.request({ op: "x" });
  guest.say(bytes);
  await expect(waiting).rejects.toMatchObject({ code: "internal" });
  await expect(files.request({ op: "x" })).rejects.toMatchObject({ code: "internal" });
  expect(guest.released).toBe(true);
});

test("whatever the guest sends, the host does not fall over", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 })), (pieces) => {
      const { guest, files } = begin();
      files.request({ op: "x" }).catch(() => {});
      for (const piece of pieces) guest.say(Buffer.from(piece));
    }),
  );
});

test("the end of the process is said, and the next request has a new one", async () => {
  const guests: ScriptedGuest[] = [];
  let users = 0;
  const busy = () => {
    users++;
    return () => users--;
  };
  const files = new GuestFiles("box", { busy, reading: (source) => source as never }, async () => {
    guests.push(new ScriptedGuest());
    return guests.at(-1) as unknown as GuestProcess;
  });
  const requests = [1, 2].map(() => files.operate({ op: "remove", path: "/a" } as never));
  for (const request of requests) request.catch(() => {});
  await new Promise(setImmediate);
  expect([guests.length, users]).toEqual([1, 2]);
  guests[0]!.exit.resolve({ signal: 9 });
  for (const request of requests) {
    await expect(request).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("'box'"),
    });
  }
  const again = files.operate({ op: "remove", path: "/a" } as never);
  await new Promise(setImmediate);
  expect(guests).toHaveLength(2);
  guests[1]!.say(encodeMessage({ id: 1 }));
  expect(await again).toEqual({});
  expect(users).toBe(0);
});

test("a guest cannot give more bytes than were asked for", async () => {
  const { guest, files } = begin();
  const opened = readFile(files, { path: "/a", length: 10 }, undefined);
  await new Promise(setImmediate);
  guest.say(encodeMessage({ id: 1, handle: 1 }));
  const next = (await opened).next();
  await new Promise(setImmediate);
  guest.say(encodeMessage({ id: 2, data: Buffer.alloc(11) }));
  await expect(next).rejects.toMatchObject({ code: "internal" });
});

const STAT = {
  type: "file",
  size: 5,
  mode: 0o644,
  uid: 1,
  gid: 2,
  links: 1,
  inode: 9,
  blocks: 8,
  mtime: [-2, 500_000_000],
  atime: [0, 0],
  ctime: [1, 0],
};

test("what is told of a file is checked field by field", async () => {
  const { guest, files } = begin();
  const told = async (reply: object) => {
    const request = files.request({ op: "stat" });
    guest.say(encodeMessage({ ...reply, id: told.count++ }));
    return request;
  };
  told.count = 1;
  expect(readStat(await told(STAT))).toEqual({
    ...{ type: "file", size: 5, mode: 0o644, uid: 1, gid: 2, links: 1, diskBytes: 4096 },
    ...{ mtimeMs: -1500, atimeMs: 0, ctimeMs: 1000 },
  });
  for (const wrong of [
    { type: "door" },
    { size: -1 },
    { size: 2n ** 60n },
    { mode: 0o10000 },
    { mtime: [1, 1e9] },
    { mtime: [1] },
    { mtime: [1, 2, 3] },
    { target: "text" },
  ]) {
    const reply = await told({ ...STAT, ...wrong });
    expect(() => readStat(reply), JSON.stringify(Object.keys(wrong))).toThrow("broke the protocol");
  }
  const long = await told({ ...STAT, path: Buffer.alloc(5000) });
  expect(() => readEntry(long)).toThrow("broke the protocol");
});

test("paths and times come back as they were", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 50 }), (bytes) => {
      const path = Buffer.from(bytes.map((byte) => byte || 1));
      expect(pathBytes(pathText(path))).toEqual(path);
    }),
  );
  expect(pathText(Buffer.from("base64:x"))).toBe("base64:YmFzZTY0Ong=");
  expect(() => pathBytes("/a\0b")).toThrow("no NUL");
  expect(timeOf(-1500)).toEqual([-2, 500_000_000]);
  expect(timeOf(1.5)).toEqual([0, 1_500_000]);
  expect(MAX_MESSAGE_BYTES).toBe(327_680);
});
