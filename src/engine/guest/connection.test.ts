import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { SandboxError } from "../../contract/errors.ts";
import type { Setup } from "./commands.ts";
import { AgentConnection, type OpenOptions } from "./connection.ts";
import { encodeCredit, FrameType } from "./frame.ts";
import type { AgentLog } from "./guest-log.ts";
import type { ModelProcess } from "./testing/model-guest.ts";
import { ModelPort } from "./testing/port.ts";

const setup: Setup = {
  identity: {
    entropy: Buffer.alloc(64, 3),
    timeNs: 1_767_225_600_000_000_000n,
    hostname: "box",
    machineId: "0123456789abcdef0123456789abcdef",
  },
  upper: "fresh" as const,
  upperSizeBytes: 2 ** 33,
};

let port: ModelPort;
let connection: AgentConnection;

beforeEach(() => {
  port = new ModelPort();
});

afterEach(() => {
  connection?.close();
});

async function open(options: Partial<OpenOptions> = {}): Promise<AgentConnection> {
  connection = await AgentConnection.open(port.connect(), { filler: false, timeoutMs: 2_000, ...options });
  return connection;
}

async function start(stdin = false) {
  const process = await connection.start(1, { argv: ["cat"], stdin });
  return { process, inGuest: port.guest.processes.get(1)! };
}

describe("hello", () => {
  test("tells what the guest is", async () => {
    await open();
    expect(connection.info).toEqual({
      agent: "model",
      capabilities: [],
      phase: "ready",
      boot: "b00t",
      processes: [],
    });
    expect(connection.running).toBe(false);
  });

  test("works with filler too", async () => {
    await open({ filler: true });
    expect(connection.info.agent).toBe("model");
  });

  test("fails with unsupported when there is no version in common", async () => {
    port.guest.answers.hello = () => ({ op: "hello", version: 0, agent: "9" });
    await expect(open()).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringContaining("9"),
    });
  });

  test("a timeout says what was waited for and how far it got", async () => {
    const stream = port.connect();
    stream.push(Buffer.alloc(1_000));
    vi.spyOn(port.guest, "receive").mockImplementation(() => {});
    const opening = AgentConnection.open(stream, { filler: false, timeoutMs: 20 });
    await expect(opening).rejects.toMatchObject({
      code: "timeout",
      message: "waited 20 ms in vain for the guest agent's hello; 969 stale bytes came",
    });
    expect(stream.destroyed).toBe(true);
  });

  test("can be cancelled", async () => {
    const abort = new AbortController();
    vi.spyOn(port.guest, "receive").mockImplementation(() => {});
    const opening = AgentConnection.open(port.connect(), { filler: false, signal: abort.signal });
    abort.abort();
    await expect(opening).rejects.toMatchObject({ code: "cancelled" });
  });

  test("fails with unavailable when the stream ends", async () => {
    const stream = port.connect();
    vi.spyOn(port.guest, "receive").mockImplementation(() => {});
    const opening = AgentConnection.open(stream, { filler: false });
    stream.push(null);
    await expect(opening).rejects.toMatchObject({ code: "unavailable" });
  });

  test("gives up with internal when the guest sends 8 MiB of something else", async () => {
    const stream = port.connect();
    vi.spyOn(port.guest, "receive").mockImplementation(() => {});
    const opening = AgentConnection.open(stream, { filler: false });
    for (let i = 0; i < 9; i++) stream.push(Buffer.alloc(1024 * 1024, 0x4d));
    await expect(opening).rejects.toMatchObject({
      code: "internal",
      message: expect.stringContaining("8 MiB"),
    });
  });
});

describe("setup", () => {
  test("goes in the same write as the hello when it is given to open", async () => {
    const received = vi.spyOn(port.guest, "receive");
    await open({ setup });
    expect(port.guest.seen).toEqual(["hello", "setup"]);
    expect(connection.setupResult).toEqual({ timeNs: 1_767_225_600_000_000_000n, timings: { root: 1_200 } });
    expect(connection.running).toBe(true);
    // The port has no writev, so a batch shows as deliveries without a turn of the guest's answers between.
    expect(received.mock.calls.length).toBeLessThanOrEqual(3);
  });

  test("is needed before anything can be started", async () => {
    await open();
    await expect(connection.start(1, { argv: ["true"] })).rejects.toMatchObject({ code: "invalid_state" });
    await connection.setup(setup);
    await connection.start(1, { argv: ["true"] });
  });

  test("a guest that does not say it has reseeded is a violation", async () => {
    port.guest.answers.setup = () => ({ reseeded: false, time_ns: 1, timings: {} });
    await open();
    await expect(connection.setup(setup)).rejects.toMatchObject({ code: "internal" });
    expect((await connection.closed).by).toBe("violation");
    expect(connection.running).toBe(false);
  });

  test("the guest's error comes out as it is, without escape sequences", async () => {
    port.guest.answers.setup = () => ({
      error: { code: "resource_exhausted", message: "no \u001b[2Jroom", hint: "grow" },
    });
    await expect(open({ setup })).rejects.toMatchObject({
      code: "resource_exhausted",
      message: "no \uFFFD[2Jroom",
      hint: "grow",
    });
  });

  test("short entropy is refused before it is sent", async () => {
    await open();
    const short = { ...setup, identity: { ...setup.identity, entropy: Buffer.alloc(31) } };
    await expect(connection.setup(short)).rejects.toMatchObject({ code: "invalid_argument" });
    expect(port.guest.seen).toEqual(["hello"]);
  });
});

describe("requests", () => {
  beforeEach(() => open({ setup }));

  test("ping and shutdown give what the guest says", async () => {
    expect(await connection.ping()).toEqual({ timeNs: 1n, uptimeMs: 2, processes: 0 });
    expect(await connection.shutdown(100)).toEqual({ killed: 0 });
  });

  test("a timeout names the request; its late reply is dropped", async () => {
    let id: unknown;
    port.guest.answers.ping = (message) => {
      id = message.get("id");
      return undefined;
    };
    await expect(connection.ping({ timeoutMs: 10 })).rejects.toMatchObject({
      code: "timeout",
      message: "waited 10 ms in vain for the guest's reply to ping",
    });
    port.guest.sendMessage(0, { op: "reply", id, time_ns: 1, uptime_ms: 1, processes: 0 });
    delete port.guest.answers.ping;
    await connection.ping();
  });

  test("a reply to a request that was not made is a violation", async () => {
    port.guest.sendMessage(0, { op: "reply", id: 77 });
    expect(await connection.closed).toMatchObject({ by: "violation", error: { code: "internal" } });
  });

  test("a field out of its bounds is a violation, and the request says so", async () => {
    port.guest.answers.ping = () => ({ time_ns: 1, uptime_ms: -1, processes: 0 });
    await expect(connection.ping()).rejects.toMatchObject({
      code: "internal",
      message: expect.stringContaining("uptime_ms"),
    });
  });

  test("everything pending rejects with unavailable when the stream is lost", async () => {
    port.guest.answers.ping = () => undefined;
    const { process } = await start();
    const pending = connection.ping();
    port.cut();
    await expect(pending).rejects.toMatchObject({ code: "unavailable" });
    await expect(process.exited).rejects.toMatchObject({ code: "unavailable" });
    await expect(connection.ping()).rejects.toMatchObject({ code: "unavailable" });
    expect((await connection.closed).by).toBe("guest");
  });
});

describe("a process", () => {
  beforeEach(() => open({ setup }));

  test("gives its output and then its exit", async () => {
    port.guest.onStart = (process) => {
      process.write(1, Buffer.from("out"));
      process.write(2, Buffer.from("err"));
      process.exit({ code: 3 });
    };
    const { process } = await start();
    const calls: unknown[] = [];
    process.onOutput((stream, offset, chunk) => void calls.push([stream, offset, chunk.toString()]));
    expect(await process.exited).toEqual({ code: 3 });
    expect(calls).toContainEqual(["stdout", 0, "out"]);
    expect(calls).toContainEqual(["stdout", 3, ""]);
    expect(calls).toContainEqual(["stderr", 0, "err"]);
    expect(calls).toContainEqual(["stderr", 3, ""]);
    process.release();
    await connection.ping();
    expect(port.guest.processes.size).toBe(0);
  });

  test("exits only after a slow reader has taken all output", async () => {
    port.guest.onStart = (process) => {
      process.write(1, Buffer.from("a"));
      process.exit({ signal: 9 });
    };
    const { process } = await start();
    const reading = Promise.withResolvers<void>();
    let exited = false;
    process.onOutput(() => reading.promise);
    void process.exited.then(() => {
      exited = true;
    });
    await connection.ping();
    expect(exited).toBe(false);
    reading.resolve();
    expect(await process.exited).toEqual({ signal: 9 });
  });

  test("what was received before the connection was lost still reaches a slow reader", async () => {
    port.guest.onStart = (process) => {
      process.write(1, Buffer.from("a"));
      process.exit({ code: 0 });
    };
    const { process } = await start();
    const seen: string[] = [];
    process.onOutput(async (stream, _, chunk) => {
      await new Promise(setImmediate);
      seen.push(`${stream} ${chunk}`);
    });
    await connection.ping();
    port.cut();
    await connection.closed;
    expect(await process.exited).toEqual({ code: 0 });
    expect(seen.toSorted()).toEqual(["stderr ", "stdout ", "stdout a"]);
    expect(seen.indexOf("stdout a")).toBeLessThan(seen.indexOf("stdout "));
  });

  test("a reader that fails ends the wait for the exit, and nothing else", async () => {
    port.guest.onStart = (process) => process.write(1, Buffer.from("a"));
    const { process } = await start();
    process.onOutput(() => Promise.reject(new Error("the disk is full")));
    await expect(process.exited).rejects.toThrow("the disk is full");
    await connection.ping();
  });

  test("waits when its output is not acknowledged, and goes on when it is", async () => {
    const process = await connection.start(1, { argv: ["yes"] }, { windowBytes: 1_000 });
    const inGuest = port.guest.processes.get(1)!;
    inGuest.write(1, Buffer.alloc(2_500, 1));
    let length = 0;
    process.onOutput((_, offset, chunk) => {
      length = offset + chunk.length;
    });
    await connection.ping();
    expect(length).toBe(1_000);
    // Too little for a credit: they go in steps of a quarter window.
    process.ack("stdout", 100);
    await connection.ping();
    await connection.ping();
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
    port.guest.answers.start = () => ({
      op: "failed",
      error: { code: "not_found", message: "no such command: x" },
      exit_code: 127,
    });
    const starting = connection.start(1, { argv: ["x"] });
    await expect(starting).rejects.toMatchObject({
      code: "not_found",
      message: "no such command: x",
      details: { exitCode: 127 },
    });
  });

  test("that the guest does not start in time is killed; the error names it", async () => {
    port.guest.answers.start = () => undefined;
    await expect(connection.start(1, { argv: ["slow"] }, { timeoutMs: 10 })).rejects.toMatchObject({
      code: "timeout",
      message: 'waited 10 ms in vain for the guest to start "slow"',
    });
    await connection.ping();
    expect(port.guest.seen).toContain("close");
    // Its late answer is for nobody.
    port.guest.sendMessage(1, { op: "started", pid: 5 });
    await connection.ping();
  });

  test("takes stdin up to its end", async () => {
    const { process, inGuest } = await start(true);
    await process.write(Buffer.from("one "));
    await process.write(Buffer.from("two"));
    process.endStdin();
    await vi.waitFor(() => expect(inGuest.stdinEnded).toBe(true));
    expect(inGuest.stdin.toString()).toBe("one two");
    await expect(process.write(Buffer.from("x"))).rejects.toMatchObject({ code: "invalid_state" });
  });

  test("that does not read its stdin makes the writer wait", async () => {
    const { process, inGuest } = await start(true);
    inGuest.stdinUntaken = Infinity;
    let accepted = 0;
    const chunk = Buffer.alloc(65_536, 5);
    const writing = (async () => {
      for (let i = 0; i < 32; i++) {
        await process.write(chunk);
        accepted += chunk.length;
      }
    })();
    await connection.ping();
    await connection.ping();
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
    const { process, inGuest } = await start(true);
    inGuest.stdinUntaken = Infinity;
    const writing = process.write(Buffer.alloc(600_000));
    await connection.ping();
    inGuest.exit({ code: 0 });
    await expect(writing).rejects.toMatchObject({ code: "invalid_state" });
    await expect(process.write(Buffer.from("x"))).rejects.toMatchObject({ code: "invalid_state" });
  });

  test("without stdin takes none", async () => {
    const { process } = await start();
    await expect(process.write(Buffer.from("x"))).rejects.toMatchObject({ code: "invalid_state" });
  });

  test("gets signals, overtaking its stdin", async () => {
    const { process, inGuest } = await start(true);
    void process.write(Buffer.alloc(100_000));
    process.signal(15, true);
    await connection.ping();
    expect(inGuest.signals).toEqual([15]);
    expect(() => process.signal(0)).toThrow(expect.objectContaining({ code: "invalid_argument" }));
  });

  test("that is released early is closed, and its late frames are for nobody", async () => {
    const { process, inGuest } = await start();
    process.release();
    inGuest.write(1, Buffer.from("late"));
    await expect(process.exited).rejects.toMatchObject({ code: "cancelled" });
    await connection.ping();
    expect(port.guest.processes.size).toBe(0);
    await expect(connection.start(1, { argv: ["x"] })).rejects.toMatchObject({ code: "invalid_argument" });
  });

  test("with much stdin does not keep another one waiting", async () => {
    const order: number[] = [];
    port.guest.onStart = (process) => {
      const take = process.takeStdin.bind(process);
      process.takeStdin = (payload) => {
        order.push(process.channel);
        take(payload);
      };
    };
    const busy = await connection.start(1, { argv: ["a"], stdin: true });
    const other = await connection.start(2, { argv: ["b"], stdin: true });
    void busy.write(Buffer.alloc(4 * 65_536));
    void other.write(Buffer.from("me too"));
    await vi.waitFor(() => expect(order).toContain(2));
    expect(order.indexOf(2)).toBe(1);
  });
});

describe("a violation", () => {
  beforeEach(() => open({ setup }));

  const data = (stream: 0 | 1 | 2, length: number) => ({
    channel: 1,
    type: FrameType.data,
    stream,
    payload: Buffer.alloc(length),
  });
  const credit = (stream: 0 | 1 | 2, acked: number, limit: number) => ({
    channel: 1,
    type: FrameType.credit,
    stream,
    payload: encodeCredit({ acked, limit }),
  });
  const violations: Record<string, [(inGuest: ModelProcess) => void, string]> = {
    "data beyond its credit": [
      () => {
        for (let i = 0; i < 4; i++) port.guest.sendFrame(data(1, 262_144));
        port.guest.sendFrame(data(1, 1));
      },
      "data beyond its credit, which ends at 1048576",
    ],
    "data on stdin": [() => port.guest.sendFrame(data(0, 1)), "data on stdin"],
    "data behind the end": [
      () => {
        port.guest.sendFrame(data(2, 0));
        port.guest.sendFrame(data(2, 1));
      },
      "data behind the end of its stream",
    ],
    "a second end": [
      () => {
        port.guest.sendFrame(data(2, 0));
        port.guest.sendFrame(data(2, 0));
      },
      "data behind the end of its stream",
    ],
    "a credit for an output": [() => port.guest.sendFrame(credit(1, 0, 10)), "a credit for an output"],
    "a credit that goes back": [
      () => port.guest.sendFrame(credit(0, 0, 100)),
      "a credit for stdin went back",
    ],
    "an acknowledgement of what was not sent": [
      () => port.guest.sendFrame(credit(0, 1, 262_144)),
      "it acknowledged stdin that was not sent",
    ],
    "a credit above 16 MiB": [
      () => port.guest.sendFrame(credit(0, 0, 16 * 1024 * 1024 + 1)),
      "a credit whose offsets contradict each other",
    ],
    "an exit before the outputs' end": [
      () => port.guest.sendMessage(1, { op: "exit", code: 0 }),
      "an exit before the end of both outputs",
    ],
    "a second exit": [
      (inGuest) => {
        inGuest.exit({ code: 0 });
        port.guest.sendMessage(1, { op: "exit", code: 0 });
      },
      "a second exit message",
    ],
    "a second start": [
      () => port.guest.sendMessage(1, { op: "started", pid: 9 }),
      "a second answer to start",
    ],
    "a channel that was not opened": [
      () => port.guest.sendMessage(2, { op: "exit", code: 0 }),
      "a frame on a channel that was not opened",
    ],
    "data on channel 0": [
      () => port.guest.sendFrame({ ...data(1, 1), channel: 0 }),
      "data or credit on channel 0",
    ],
    "an unknown message": [() => port.guest.sendMessage(1, { op: "nonsense" }), "an unknown message"],
    "a message without op": [() => port.guest.sendMessage(0, { level: "info" }), "message, op: not a text"],
    "a message that is no map": [() => port.guest.sendMessage(0, ["op"]), "message is no map"],
    "a second hello": [() => port.guest.sendMessage(0, { op: "hello" }), "an unknown message on channel 0"],
  };

  test.each(Object.entries(violations))("%s closes the connection and says so", async (_, [commit, what]) => {
    const { process, inGuest } = await start(true);
    commit(inGuest);
    const { by, error } = await connection.closed;
    expect(by).toBe("violation");
    expect(error.code).toBe("internal");
    expect(error.message).toContain(what);
    await process.exited.catch((reason: SandboxError) => expect(reason).toBe(error));
  });

  test("output before the answer to start is one", async () => {
    port.guest.answers.start = () => {
      port.guest.sendFrame(data(1, 1));
      return undefined;
    };
    await expect(connection.start(1, { argv: ["x"] })).rejects.toThrow(
      "output before the process was started",
    );
  });
});

describe("the agent's log", () => {
  test("is passed on, bounded, without escape sequences", async () => {
    const entries: AgentLog[] = [];
    await open({ onLog: (entry) => entries.push(entry) });
    port.guest.sendMessage(0, { op: "log", level: "warn", message: "\u001b]0;x\u0007" });
    for (let i = 0; i < 1_000; i++) port.guest.sendMessage(0, { op: "log", level: "info", message: "spam" });
    await connection.ping();
    expect(entries[0]).toEqual({ level: "warn", message: "\uFFFD]0;x\uFFFD" });
    expect(entries.length).toBeGreaterThanOrEqual(64);
    expect(entries.length).toBeLessThan(200);
  });
});
