import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Qmp, type QmpEvent } from "./qmp.ts";

/** A peer that says what the test tells it to: QEMU as it should be, and as it would be once a guest owns it. */
describe("the control channel", () => {
  let folder: string;
  let server: Server;
  let peer: Promise<Socket>;
  let qmp: Qmp;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "msb-qmp-"));
    server = createServer();
    peer = new Promise((resolve) => server.once("connection", resolve));
    await new Promise<void>((resolve) => server.listen(join(folder, "qmp"), resolve));
    qmp = await Qmp.connect(join(folder, "qmp"));
  });
  afterEach(async () => {
    qmp.close();
    (await peer).destroy();
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true, force: true });
  });

  test("answers commands by their number, in whatever order and pieces they come", async () => {
    const socket = await peer;
    const one = qmp.execute("one");
    const two = qmp.execute("two");
    const text =
      '{"return":"second","id":2}\r\n{"event":"RESUME","data":{}}\r\n{"return":"first","id":1}\r\n';
    for (const byte of text) socket.write(byte);
    expect(await Promise.all([one, two])).toEqual(["first", "second"]);
  });

  test("gives QEMU's own words for an error", async () => {
    const command = qmp.execute("migrate");
    (await peer).write('{"error":{"class":"GenericError","desc":"no such thing"},"id":1}\n');
    await expect(command).rejects.toMatchObject({
      code: "internal",
      message: expect.stringContaining("no such thing"),
    });
  });

  test("passes on events until it is told not to", async () => {
    const seen: QmpEvent[] = [];
    const stop = qmp.onEvent((event) => seen.push(event));
    (await peer).write('{"event":"SHUTDOWN","data":{"reason":"guest-reset"}}\n{"return":{},"id":1}\n');
    await qmp.execute("anything");
    expect(seen).toEqual([{ event: "SHUTDOWN", data: { reason: "guest-reset" } }]);
    stop();
    (await peer).write('{"event":"STOP"}\n{"return":{},"id":2}\n');
    await qmp.execute("anything");
    expect(seen).toHaveLength(1);
  });

  test("rejects what is pending, and what comes later, when QEMU goes away", async () => {
    const pending = qmp.execute("cont");
    (await peer).destroy();
    await expect(pending).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("cont"),
    });
    await qmp.closed;
    await expect(qmp.execute("stop")).rejects.toMatchObject({ code: "unavailable" });
  });

  test("says which command was not answered in time", async () => {
    await expect(qmp.execute("slow", undefined, 20)).rejects.toMatchObject({
      code: "timeout",
      message: expect.stringContaining("'slow'"),
    });
  });

  test("closes on what is no JSON, and on a line without an end", async () => {
    const nonsense = qmp.execute("one");
    (await peer).write("hello\n");
    await expect(nonsense).rejects.toMatchObject({ code: "unavailable" });
  });

  test("holds at most a line of 1 MiB", async () => {
    const flooded = qmp.execute("one");
    const socket = await peer;
    socket.on("error", () => {});
    for (let i = 0; i < 40; i++) socket.write(Buffer.alloc(64 * 1024, "x"));
    await expect(flooded).rejects.toMatchObject({ code: "unavailable" });
  });
});
