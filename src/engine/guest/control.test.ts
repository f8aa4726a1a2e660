import { describe, expect, test } from "vitest";
import { encodeCbor } from "./cbor.ts";
import { readConnectionMessage, readHello, readPingResult, readProcessMessage } from "./control.ts";
import { Fields } from "./fields.ts";

const listed = { channel: 1, pid: 5, stdin: 0, stdout: [0, 3], stderr: [1, 1] };
const hello = {
  op: "hello",
  version: 1,
  agent: "0.1.0",
  capabilities: ["pty"],
  phase: "running",
  boot: "b",
  processes: [listed, { ...listed, channel: 2, exit: { signal: 9 } }],
};

test("a hello is read, keys of later versions are not", () => {
  expect(readHello(encodeCbor({ ...hello, later: true }))).toEqual({
    agent: "0.1.0",
    capabilities: ["pty"],
    phase: "running",
    boot: "b",
    frozen: false,
    processes: [
      { channel: 1, pid: 5, stdinReceived: 0, stdout: { start: 0, end: 3 }, stderr: { start: 1, end: 1 } },
      {
        channel: 2,
        pid: 5,
        stdinReceived: 0,
        stdout: { start: 0, end: 3 },
        stderr: { start: 1, end: 1 },
        exit: { signal: 9 },
      },
    ],
  });
});

const withProcess = (change: object) => ({ ...hello, processes: [{ ...listed, ...change }] });

const wrongHellos: Record<string, [unknown, string]> = {
  "another message": [{ ...hello, op: "log" }, "its first message is no hello"],
  "a version above ours": [{ ...hello, version: 2 }, "hello, version"],
  "a phase that does not exist": [{ ...hello, phase: "dead" }, "hello, phase"],
  "frozen as a number": [{ ...hello, frozen: 1 }, "hello, frozen"],
  "no boot": [{ ...hello, boot: undefined }, "hello, boot: not a text of at most 128"],
  "an agent's version of 1,000 letters": [{ ...hello, agent: "v".repeat(1_000) }, "hello, agent"],
  "a capability that is no text": [{ ...hello, capabilities: [1] }, "hello, capabilities"],
  "65 capabilities": [{ ...hello, capabilities: Array(65).fill("c") }, "hello, capabilities"],
  "processes as a map": [{ ...hello, processes: {} }, "hello, processes: not an array of at most 1024"],
  "1,025 processes": [
    { ...hello, processes: Array.from({ length: 1_025 }, (_, i) => ({ ...listed, channel: i + 1 })) },
    "hello, processes: not an array of at most 1024",
  ],
  "a process that is no map": [{ ...hello, processes: [7] }, "hello, process is no map"],
  "a channel twice": [{ ...hello, processes: [listed, listed] }, "a channel stands there twice"],
  "channel 0": [withProcess({ channel: 0 }), "channel 0 is no process"],
  "channel 2^31": [withProcess({ channel: 2 ** 31 }), "hello, process, channel"],
  "pid 0": [withProcess({ pid: 0 }), "there is no process 0"],
  "a negative offset": [withProcess({ stdin: -1 }), "hello, process, stdin"],
  "an offset above 2^53": [withProcess({ stdin: 2n ** 60n }), "hello, process, stdin"],
  "a start behind its end": [withProcess({ stdout: [4, 3] }), "hello, process, stdout: not [start, end]"],
  "three offsets": [withProcess({ stderr: [0, 1, 2] }), "hello, process, stderr"],
  "one offset": [withProcess({ stderr: [0] }), "hello, process, stderr: not [start, end]"],
  "an exit code of 256": [withProcess({ exit: { code: 256 } }), "exit, code"],
  "an exit by signal 0": [withProcess({ exit: { signal: 0 } }), "there is no signal 0"],
  "an exit by signal 65": [withProcess({ exit: { signal: 65 } }), "exit, signal"],
  "an exit without either": [withProcess({ exit: {} }), "exit, code"],
};

test.each(Object.entries(wrongHellos))("a hello with %s is refused", (_, [message, what]) => {
  const read = () => readHello(encodeCbor(message));
  expect(read).toThrow(expect.objectContaining({ code: "internal" }));
  expect(read).toThrow(what);
});

test("times have all 64 bits and no sign", () => {
  const ping = (time_ns: bigint) =>
    readPingResult(Fields.ofMessage(encodeCbor({ time_ns, uptime_ms: 1, processes: 0 }), "reply"));
  expect(ping(2n ** 64n - 1n).timeNs).toBe(2n ** 64n - 1n);
  expect(ping(5n).timeNs).toBe(5n);
  expect(() => ping(-1n)).toThrow("reply, time_ns: not unsigned");
});

describe("errors of the guest", () => {
  const failed = (change: object) => {
    const error = { code: "not_found", message: "no such command" };
    return encodeCbor({ op: "failed", error, exit_code: 127, ...change });
  };

  test("carry the shell's exit code", () => {
    expect(readProcessMessage(failed({}))).toMatchObject({
      error: { code: "not_found", details: { exitCode: 127 } },
    });
    for (const exit_code of [125, 128])
      expect(() => readProcessMessage(failed({ exit_code }))).toThrow("exit_code");
  });

  test("with a code that we do not know are internal", () => {
    const message = failed({ error: { code: "on_fire", message: "help" } });
    expect(readProcessMessage(message)).toMatchObject({ error: { code: "internal", message: "help" } });
  });

  test("have their text cut", () => {
    const reply = { op: "reply", id: 1, error: { code: "internal", message: "x".repeat(100_000) } };
    const message = readConnectionMessage(encodeCbor(reply));
    expect("error" in message && message.error.message.length).toBe(4_097);
  });
});
