import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { SandboxError } from "../../contract/errors.ts";
import { AgentConnection } from "./connection.ts";
import { encodeCredit, FrameType } from "./frame.ts";
import type { AgentLog } from "./guest-log.ts";
import type { ModelProcess } from "./testing/model-guest.ts";
import { Session, setup } from "./testing/session.ts";

const session = new Session();
beforeEach(() => session.reset());
afterEach(() => session.close());

describe("hello", () => {
  test("tells what the guest is", async () => {
    await session.open();
    expect(session.connection.info).toEqual({
      agent: "model",
      capabilities: [],
      phase: "ready",
      boot: "b00t",
      frozen: false,
      processes: [],
    });
    expect(session.connection.running).toBe(false);
  });

  test("works with filler too", async () => {
    await session.open({ filler: true });
    expect(session.connection.info.agent).toBe("model");
  });

  test("fails with unsupported when there is no version in common", async () => {
    session.port.guest.answers.hello = () => ({ op: "hello", version: 0, agent: "9" });
    await expect(session.open()).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringContaining("9"),
    });
  });

  test("a timeout says what was waited for and how far it got", async () => {
    const stream = session.port.connect();
    stream.push(Buffer.alloc(1_000));
    vi.spyOn(session.port.guest, "receive").mockImplementation(() => {});
    const opening = AgentConnection.open(stream, { filler: false, timeoutMs: 20 });
    await expect(opening).rejects.toMatchObject({
      code: "timeout",
      message: "waited 20 ms in vain for the guest agent's hello; 969 stale bytes came",
    });
    expect(stream.destroyed).toBe(true);
  });

  test("can be cancelled", async () => {
    const abort = new AbortController();
    vi.spyOn(session.port.guest, "receive").mockImplementation(() => {});
    const opening = AgentConnection.open(session.port.connect(), { filler: false, signal: abort.signal });
    abort.abort();
    await expect(opening).rejects.toMatchObject({ code: "cancelled" });
  });

  test("fails with unavailable when the stream ends", async () => {
    const stream = session.port.connect();
    vi.spyOn(session.port.guest, "receive").mockImplementation(() => {});
    const opening = AgentConnection.open(stream, { filler: false });
    stream.push(null);
    await expect(opening).rejects.toMatchObject({ code: "unavailable" });
  });

  test("gives up with internal when the guest sends 8 MiB of something else", async () => {
    const stream = session.port.connect();
    vi.spyOn(session.port.guest, "receive").mockImplementation(() => {});
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
    const received = vi.spyOn(session.port.guest, "receive");
    await session.open({ setup });
    expect(session.port.guest.seen).toEqual(["hello", "setup"]);
    expect(session.connection.setupResult).toEqual({
      timeNs: 1_767_225_600_000_000_000n,
      timings: { root: 1_200 },
    });
    expect(session.connection.running).toBe(true);
    // The port has no writev, so a batch shows as deliveries without a turn of the guest's answers between.
    expect(received.mock.calls.length).toBeLessThanOrEqual(3);
  });

  test("is needed before anything can be started", async () => {
    await session.open();
    await expect(session.connection.start(1, { argv: ["true"] })).rejects.toMatchObject({
      code: "invalid_state",
    });
    await session.connection.setup(setup);
    await session.connection.start(1, { argv: ["true"] });
  });

  test("a guest that does not say it has reseeded is a violation", async () => {
    session.port.guest.answers.setup = () => ({ reseeded: false, time_ns: 1, timings: {} });
    await session.open();
    await expect(session.connection.setup(setup)).rejects.toMatchObject({ code: "internal" });
    expect((await session.connection.closed).by).toBe("violation");
    expect(session.connection.running).toBe(false);
  });

  test("the guest's error comes out as it is, without escape sequences", async () => {
    session.port.guest.answers.setup = () => ({
      error: { code: "resource_exhausted", message: "no \u001b[2Jroom", hint: "grow" },
    });
    await expect(session.open({ setup })).rejects.toMatchObject({
      code: "resource_exhausted",
      message: "no \uFFFD[2Jroom",
      hint: "grow",
    });
  });

  test("a mount is asked for with its numbers, and its error comes out", async () => {
    const asked: unknown[] = [];
    session.port.guest.answers.mount = (message) => {
      asked.push(Object.fromEntries(message));
      return message.get("type") === "tmpfs"
        ? {}
        : { error: { code: "invalid_argument", message: "/etc/passwd is no folder" } };
    };
    await session.open({ setup });
    await session.connection.mount({ type: "tmpfs", target: "/scratch", sizeBytes: 4096, mode: 0o1777 });
    const volume = {
      target: "/etc/passwd",
      disk: "volume1",
      sizeBytes: 2 ** 32,
      readOnly: true,
      dirSync: false,
    };
    await expect(session.connection.mount({ type: "volume", ...volume })).rejects.toMatchObject({
      code: "invalid_argument",
      message: "/etc/passwd is no folder",
    });
    expect(asked).toMatchObject([
      { op: "mount", type: "tmpfs", target: "/scratch", size: 4096, mode: 0o1777 },
      {
        op: "mount",
        type: "volume",
        target: "/etc/passwd",
        disk: "volume1",
        read_only: true,
        dir_sync: false,
      },
    ]);
  });

  test("short entropy is refused before it is sent", async () => {
    await session.open();
    const short = { ...setup, identity: { ...setup.identity, entropy: Buffer.alloc(31) } };
    await expect(session.connection.setup(short)).rejects.toMatchObject({ code: "invalid_argument" });
    expect(session.port.guest.seen).toEqual(["hello"]);
  });
});

describe("requests", () => {
  beforeEach(() => session.open({ setup }));

  test("ping and shutdown give what the guest says", async () => {
    expect(await session.connection.ping()).toEqual({ timeNs: 1n, uptimeMs: 2, processes: 0 });
    expect(await session.connection.shutdown(100)).toEqual({ killed: 0 });
  });

  test("a timeout names the request; its late reply is dropped", async () => {
    let id: unknown;
    session.port.guest.answers.ping = (message) => {
      id = message.get("id");
      return undefined;
    };
    await expect(session.connection.ping({ timeoutMs: 10 })).rejects.toMatchObject({
      code: "timeout",
      message: "waited 10 ms in vain for the guest's reply to ping",
    });
    session.port.guest.sendMessage(0, { op: "reply", id, time_ns: 1, uptime_ms: 1, processes: 0 });
    delete session.port.guest.answers.ping;
    await session.connection.ping();
  });

  test("a reply to a request that was not made is a violation", async () => {
    session.port.guest.sendMessage(0, { op: "reply", id: 77 });
    expect(await session.connection.closed).toMatchObject({ by: "violation", error: { code: "internal" } });
  });

  test("a field out of its bounds is a violation, and the request says so", async () => {
    session.port.guest.answers.ping = () => ({ time_ns: 1, uptime_ms: -1, processes: 0 });
    await expect(session.connection.ping()).rejects.toMatchObject({
      code: "internal",
      message: expect.stringContaining("uptime_ms"),
    });
  });

  test("everything pending rejects with unavailable when the stream is lost", async () => {
    session.port.guest.answers.ping = () => undefined;
    const { process } = await session.start();
    const pending = session.connection.ping();
    session.port.cut();
    await expect(pending).rejects.toMatchObject({ code: "unavailable" });
    await expect(process.exited).rejects.toMatchObject({ code: "unavailable" });
    await expect(session.connection.ping()).rejects.toMatchObject({ code: "unavailable" });
    expect((await session.connection.closed).by).toBe("guest");
  });
});

describe("a violation", () => {
  beforeEach(() => session.open({ setup }));

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
        for (let i = 0; i < 4; i++) session.port.guest.sendFrame(data(1, 262_144));
        session.port.guest.sendFrame(data(1, 1));
      },
      "data beyond its credit, which ends at 1048576",
    ],
    "data on stdin": [() => session.port.guest.sendFrame(data(0, 1)), "data on stdin"],
    "data behind the end": [
      () => {
        session.port.guest.sendFrame(data(2, 0));
        session.port.guest.sendFrame(data(2, 1));
      },
      "data behind the end of its stream",
    ],
    "a second end": [
      () => {
        session.port.guest.sendFrame(data(2, 0));
        session.port.guest.sendFrame(data(2, 0));
      },
      "data behind the end of its stream",
    ],
    "a credit for an output": [
      () => session.port.guest.sendFrame(credit(1, 0, 10)),
      "a credit for an output",
    ],
    "a credit that goes back": [
      () => session.port.guest.sendFrame(credit(0, 0, 100)),
      "a credit for stdin went back",
    ],
    "an acknowledgement of what was not sent": [
      () => session.port.guest.sendFrame(credit(0, 1, 262_144)),
      "it acknowledged stdin that was not sent",
    ],
    "a credit above 16 MiB": [
      () => session.port.guest.sendFrame(credit(0, 0, 16 * 1024 * 1024 + 1)),
      "a credit whose offsets contradict each other",
    ],
    "an exit before the outputs' end": [
      () => session.port.guest.sendMessage(1, { op: "exit", code: 0 }),
      "an exit before the end of both outputs",
    ],
    "a second exit": [
      (inGuest) => {
        inGuest.exit({ code: 0 });
        session.port.guest.sendMessage(1, { op: "exit", code: 0 });
      },
      "a second exit message",
    ],
    "a second start": [
      () => session.port.guest.sendMessage(1, { op: "started", pid: 9 }),
      "a second answer to start",
    ],
    "a channel that was not opened": [
      () => session.port.guest.sendMessage(2, { op: "exit", code: 0 }),
      "a frame on a channel that was not opened",
    ],
    "data on channel 0": [
      () => session.port.guest.sendFrame({ ...data(1, 1), channel: 0 }),
      "data or credit on channel 0",
    ],
    "an unknown message": [() => session.port.guest.sendMessage(1, { op: "nonsense" }), "an unknown message"],
    "a message without op": [
      () => session.port.guest.sendMessage(0, { level: "info" }),
      "message, op: not a text",
    ],
    "a message that is no map": [() => session.port.guest.sendMessage(0, ["op"]), "message is no map"],
    "a second hello": [
      () => session.port.guest.sendMessage(0, { op: "hello" }),
      "an unknown message on channel 0",
    ],
  };

  test.each(Object.entries(violations))(
    "%s closes the session.connection and says so",
    async (_, [commit, what]) => {
      const { process, inGuest } = await session.start(true);
      process.onOutput(() => {});
      commit(inGuest);
      const { by, error } = await session.connection.closed;
      expect(by).toBe("violation");
      expect(error.code).toBe("internal");
      expect(error.message).toContain(what);
      await process.exited.catch((reason: SandboxError) => expect(reason).toBe(error));
    },
  );

  test("output before the answer to start is one", async () => {
    session.port.guest.answers.start = () => {
      session.port.guest.sendFrame(data(1, 1));
      return undefined;
    };
    await expect(session.connection.start(1, { argv: ["x"] })).rejects.toThrow(
      "output before the process was started",
    );
  });
});

describe("the agent's log", () => {
  test("is passed on, bounded, without escape sequences", async () => {
    const entries: AgentLog[] = [];
    await session.open({ onLog: (entry) => entries.push(entry) });
    session.port.guest.sendMessage(0, { op: "log", level: "warn", message: "\u001b]0;x\u0007" });
    for (let i = 0; i < 1_000; i++)
      session.port.guest.sendMessage(0, { op: "log", level: "info", message: "spam" });
    await session.connection.ping();
    expect(entries[0]).toEqual({ level: "warn", message: "\uFFFD]0;x\uFFFD" });
    expect(entries.length).toBeGreaterThanOrEqual(64);
    expect(entries.length).toBeLessThan(200);
  });
});
