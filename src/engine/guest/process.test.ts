import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Session, setup } from "./testing/session.ts";

const session = new Session();
beforeEach(() => session.reset());
afterEach(() => session.close());

describe("a process", () => {
  beforeEach(() => session.open({ setup }));

  test("gives its output and then its exit", async () => {
    session.port.guest.onStart = (process) => {
      process.write(1, Buffer.from("out"));
      process.write(2, Buffer.from("err"));
      process.exit({ code: 3 });
    };
    const { process } = await session.start();
    const calls: unknown[] = [];
    process.onOutput((stream, offset, chunk) => void calls.push([stream, offset, chunk.toString()]));
    expect(await process.exited).toEqual({ code: 3 });
    expect(calls).toContainEqual(["stdout", 0, "out"]);
    expect(calls).toContainEqual(["stdout", 3, ""]);
    expect(calls).toContainEqual(["stderr", 0, "err"]);
    expect(calls).toContainEqual(["stderr", 3, ""]);
    process.release();
    await session.connection.ping();
    expect(session.port.guest.processes.size).toBe(0);
  });

  test("waits with its exit for a reader that comes late, and gives it everything", async () => {
    session.port.guest.onStart = (process) => {
      process.write(1, Buffer.from("a"));
      process.write(2, Buffer.from("b"));
      process.exit({ code: 0 });
    };
    const { process } = await session.start();
    await session.connection.ping();
    const seen: string[] = [];
    const ended = process.exited.then(() => seen.push("exit"));
    process.onOutput(async (stream, _, chunk) => {
      await new Promise(setImmediate);
      if (chunk.length > 0) seen.push(`${stream} ${chunk}`);
    });
    await ended;
    expect(seen).toEqual(["stdout a", "stderr b", "exit"]);
  });

  test("exits only after a slow reader has taken all output", async () => {
    session.port.guest.onStart = (process) => {
      process.write(1, Buffer.from("a"));
      process.exit({ signal: 9 });
    };
    const { process } = await session.start();
    const reading = Promise.withResolvers<void>();
    let exited = false;
    process.onOutput(() => reading.promise);
    void process.exited.then(() => {
      exited = true;
    });
    await session.connection.ping();
    expect(exited).toBe(false);
    reading.resolve();
    expect(await process.exited).toEqual({ signal: 9 });
  });

  test("what was received before the session.connection was lost still reaches a slow reader", async () => {
    session.port.guest.onStart = (process) => {
      process.write(1, Buffer.from("a"));
      process.exit({ code: 0 });
    };
    const { process } = await session.start();
    const seen: string[] = [];
    process.onOutput(async (stream, _, chunk) => {
      await new Promise(setImmediate);
      seen.push(`${stream} ${chunk}`);
    });
    await session.connection.ping();
    session.port.cut();
    await session.connection.closed;
    expect(await process.exited).toEqual({ code: 0 });
    expect(seen.toSorted()).toEqual(["stderr ", "stdout ", "stdout a"]);
    expect(seen.indexOf("stdout a")).toBeLessThan(seen.indexOf("stdout "));
  });

  test("a reader that fails ends the wait for the exit, and nothing else", async () => {
    session.port.guest.onStart = (process) => process.write(1, Buffer.from("a"));
    const { process } = await session.start();
    process.onOutput(() => Promise.reject(new Error("the disk is full")));
    await expect(process.exited).rejects.toThrow("the disk is full");
    await session.connection.ping();
  });

  test("waits when its output is not acknowledged, and goes on when it is", async () => {
    const process = await session.connection.start(1, { argv: ["yes"] }, { windowBytes: 1_000 });
    const inGuest = session.port.guest.processes.get(1)!;
    inGuest.write(1, Buffer.alloc(2_500, 1));
    let length = 0;
    process.onOutput((_, offset, chunk) => {
      length = offset + chunk.length;
    });
    await session.connection.ping();
    expect(length).toBe(1_000);
    // Too little for a credit: they go in steps of a quarter window.
    process.ack("stdout", 100);
    await session.connection.ping();
    await session.connection.ping();
    expect(length).toBe(1_000);
    process.ack("stdout", 600);
    // Going back does nothing.
    process.ack("stdout", 300);
    await vi.waitFor(() => expect(length).toBe(1_600));
    process.ack("stdout", 1_600);
    await vi.waitFor(() => expect(length).toBe(2_500));
    expect(() => process.ack("stdout", 2_501)).toThrow(expect.objectContaining({ code: "invalid_argument" }));
  });

  test("fails to start with the guest's error and the shell's exit code", async () => {
    session.port.guest.answers.start = () => ({
      op: "failed",
      error: { code: "not_found", message: "no such command: x" },
      exit_code: 127,
    });
    const starting = session.connection.start(1, { argv: ["x"] });
    await expect(starting).rejects.toMatchObject({
      code: "not_found",
      message: "no such command: x",
      details: { exitCode: 127 },
    });
  });

  test("that the guest does not start in time is killed; the error names it", async () => {
    session.port.guest.answers.start = () => undefined;
    await expect(session.connection.start(1, { argv: ["slow"] }, { timeoutMs: 10 })).rejects.toMatchObject({
      code: "timeout",
      message: 'waited 10 ms in vain for the guest to start "slow"',
    });
    await session.connection.ping();
    expect(session.port.guest.seen).toContain("close");
    // Its late answer is for nobody.
    session.port.guest.sendMessage(1, { op: "started", pid: 5 });
    await session.connection.ping();
  });

  test("takes stdin up to its end", async () => {
    const { process, inGuest } = await session.start(true);
    await process.write(Buffer.from("one "));
    await process.write(Buffer.from("two"));
    process.endStdin();
    await vi.waitFor(() => expect(inGuest.stdinEnded).toBe(true));
    expect(inGuest.stdin.toString()).toBe("one two");
    await expect(process.write(Buffer.from("x"))).rejects.toMatchObject({ code: "invalid_state" });
  });

  test("that does not read its stdin makes the writer wait", async () => {
    const { process, inGuest } = await session.start(true);
    inGuest.stdinUntaken = Infinity;
    let accepted = 0;
    const chunk = Buffer.alloc(65_536, 5);
    const writing = (async () => {
      for (let i = 0; i < 32; i++) {
        await process.write(chunk);
        accepted += chunk.length;
      }
    })();
    await session.connection.ping();
    await session.connection.ping();
    // 256 KiB at the guest and as much in the host's queue.
    expect(inGuest.stdin.length).toBe(262_144);
    expect(accepted).toBe(524_288);
    inGuest.stdinUntaken = 0;
    inGuest.grantStdin();
    await writing;
    process.endStdin();
    await vi.waitFor(() => expect(inGuest.stdinEnded).toBe(true));
    expect(inGuest.stdin.length).toBe(32 * 65_536);
    expect(process.stdinAcked).toBe(32 * 65_536);
  });

  test("that has ended takes no stdin; what waited for it rejects", async () => {
    const { process, inGuest } = await session.start(true);
    inGuest.stdinUntaken = Infinity;
    const writing = process.write(Buffer.alloc(600_000));
    await session.connection.ping();
    inGuest.exit({ code: 0 });
    await expect(writing).rejects.toMatchObject({ code: "invalid_state" });
    await expect(process.write(Buffer.from("x"))).rejects.toMatchObject({ code: "invalid_state" });
  });

  test("without stdin takes none", async () => {
    const { process } = await session.start();
    await expect(process.write(Buffer.from("x"))).rejects.toMatchObject({ code: "invalid_state" });
  });

  test("gets signals, overtaking its stdin", async () => {
    const { process, inGuest } = await session.start(true);
    void process.write(Buffer.alloc(100_000));
    process.signal(15, "group");
    await session.connection.ping();
    expect(inGuest.signals).toEqual([15]);
    expect(() => process.signal(0)).toThrow(expect.objectContaining({ code: "invalid_argument" }));
  });

  test("that is released early is closed, and its late frames are for nobody", async () => {
    const { process, inGuest } = await session.start();
    process.release();
    inGuest.write(1, Buffer.from("late"));
    await expect(process.exited).rejects.toMatchObject({ code: "cancelled" });
    await session.connection.ping();
    expect(session.port.guest.processes.size).toBe(0);
    await expect(session.connection.start(1, { argv: ["x"] })).rejects.toMatchObject({
      code: "invalid_argument",
    });
  });

  test("with much stdin does not keep another one waiting", async () => {
    const order: number[] = [];
    session.port.guest.onStart = (process) => {
      const take = process.takeStdin.bind(process);
      process.takeStdin = (payload) => {
        order.push(process.channel);
        take(payload);
      };
    };
    const busy = await session.connection.start(1, { argv: ["a"], stdin: true });
    const other = await session.connection.start(2, { argv: ["b"], stdin: true });
    void busy.write(Buffer.alloc(4 * 65_536));
    void other.write(Buffer.from("me too"));
    await vi.waitFor(() => expect(order).toContain(2));
    expect(order.indexOf(2)).toBe(1);
  });
});
