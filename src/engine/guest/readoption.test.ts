import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { SandboxError } from "../../contract/errors.ts";
import { AgentConnection } from "./connection.ts";
import type { GuestProcess } from "./process.ts";
import { ModelPort } from "./testing/port.ts";
import { setup } from "./testing/session.ts";

// What spec/agent-protocol.md promises for a host that dies at any byte: the next one takes over, and of the
// output nothing is lost that the guest still held, and nothing comes twice.

const options = { filler: true, timeoutMs: 2_000 };

function pattern(length: number, factor: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, i) => (i * factor) ^ (i >> 8)));
}

/** What survives a host: the logs it has written, as the sandbox room writes them. */
class Logs {
  stdout: Buffer = Buffer.alloc(0);
  stderr: Buffer = Buffer.alloc(0);

  take(process: GuestProcess): void {
    process.onOutput(async (stream, offset, chunk) => {
      expect(offset).toBe(this[stream].length);
      // Written a turn later than received, acknowledged after it was written.
      await new Promise(setImmediate);
      this[stream] = Buffer.concat([this[stream], chunk]);
      process.ack(stream, this[stream].length);
    });
  }
}

const cutAt = fc.record({
  toGuest: fc.oneof(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 262_100, max: 262_800 })),
  fromGuest: fc.integer({ min: 1, max: 12_000 }),
  direction: fc.constantFrom("toGuest" as const, "fromGuest" as const),
});

test("cut at any byte, again and again: no output is lost or doubled, and the exit arrives", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(cutAt, { minLength: 1, maxLength: 5 }),
      fc.boolean(),
      fc.integer({ min: 200, max: 4_000 }),
      async (cuts, tellsGuest, windowBytes) => {
        const port = new ModelPort();
        port.tellsGuest = tellsGuest;
        const out = pattern(9_000, 7);
        const err = pattern(3_000, 13);
        port.guest.onStart = (process) => {
          for (let at = 0; at < out.length; at += 700) process.write(1, out.subarray(at, at + 700));
          for (let at = 0; at < err.length; at += 300) process.write(2, err.subarray(at, at + 300));
          process.exit({ code: 7 });
        };
        const logs = new Logs();
        const first = await AgentConnection.open(port.connect(), { ...options, filler: false, setup });
        logs.take(await first.start(1, { argv: ["x"] }, { windowBytes }));
        first.close();

        for (const { direction, ...cut } of [...cuts, undefined].map(
          (cut) => cut ?? { direction: "none" as const },
        )) {
          const stream = port.connect(
            direction === "none" ? {} : { [direction]: cut[direction as keyof typeof cut] },
          );
          try {
            const connection = await AgentConnection.open(stream, options);
            const process = connection.adopt(1, {
              stdoutFrom: logs.stdout.length,
              stderrFrom: logs.stderr.length,
              windowBytes,
            });
            expect(process.lost).toEqual({ stdout: 0, stderr: 0 });
            logs.take(process);
            expect(await process.exited).toEqual({ code: 7 });
            connection.close();
          } catch (error) {
            // Only a host that was cut off may fail, and in no other way.
            if (!(error instanceof SandboxError)) throw error;
            expect(error.code).toBe("unavailable");
            expect(direction).not.toBe("none");
          }
          // A handler of the host that died may still be writing.
          await new Promise(setImmediate);
          await new Promise(setImmediate);
        }
        expect(logs.stdout.equals(out)).toBe(true);
        expect(logs.stderr.equals(err)).toBe(true);
      },
    ),
    { numRuns: 150 },
  );
}, 60_000);

test("cut while sending stdin: the process got a prefix, and the next host goes on behind it", async () => {
  const input = pattern(5_000, 11);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 6_000 }), fc.boolean(), async (toGuest, tellsGuest) => {
      const port = new ModelPort();
      port.tellsGuest = tellsGuest;
      const first = await AgentConnection.open(port.connect(), { ...options, filler: false, setup });
      await first.start(1, { argv: ["cat"], stdin: true });
      first.close();
      const feed = (connection: AgentConnection) => {
        const from = connection.info.processes[0]!.stdinReceived;
        const process = connection.adopt(1, { stdoutFrom: 0, stderrFrom: 0 });
        for (let at = from; at < input.length; at += 100) void process.write(input.subarray(at, at + 100));
        process.endStdin();
      };
      const inGuest = port.guest.processes.get(1)!;
      try {
        const second = await AgentConnection.open(port.connect({ toGuest: 262_300 + toGuest }), options);
        feed(second);
        const allSent = vi.waitFor(() => expect(inGuest.stdinEnded).toBe(true), { interval: 1 });
        await Promise.race([second.closed, allSent]);
        allSent.catch(() => {});
        second.close();
      } catch (error) {
        expect(error).toMatchObject({ code: "unavailable" });
      }
      expect(inGuest.stdin.equals(input.subarray(0, inGuest.stdin.length))).toBe(true);
      const last = await AgentConnection.open(port.connect(), options);
      feed(last);
      await vi.waitFor(() => expect(inGuest.stdinEnded).toBe(true), { interval: 1 });
      expect(inGuest.stdin.equals(input)).toBe(true);
      last.close();
    }),
    { numRuns: 60 },
  );
}, 60_000);

describe("adopt", () => {
  async function reconnected(act: (port: ModelPort) => void) {
    const port = new ModelPort();
    const first = await AgentConnection.open(port.connect(), { ...options, filler: false, setup });
    await first.start(1, { argv: ["x"] });
    first.close();
    act(port);
    return { port, connection: await AgentConnection.open(port.connect(), options) };
  }

  test("says how much was lost while nobody was there, and gives the rest", async () => {
    const { connection } = await reconnected((port) => {
      port.guest.processes.get(1)!.write(1, pattern(1024 * 1024 + 500, 3));
      port.guest.processes.get(1)!.exit({ code: 0 });
    });
    expect(connection.running).toBe(true);
    const process = connection.adopt(1, { stdoutFrom: 20, stderrFrom: 0, windowBytes: 100 });
    expect(process.lost).toEqual({ stdout: 480, stderr: 0 });
    let end = 500;
    process.onOutput((stream, offset, chunk) => {
      if (stream === "stderr") return;
      expect(offset).toBe(end);
      end += chunk.length;
      process.ack(stream, end);
    });
    expect(await process.exited).toEqual({ code: 0 });
    expect(end).toBe(1024 * 1024 + 500);
  });

  test("of a process that had ended silently gives its exit, even when it came first", async () => {
    const { connection } = await reconnected((port) => port.guest.processes.get(1)!.exit({ signal: 9 }));
    await connection.ping();
    expect(connection.info.processes[0]!.exit).toEqual({ signal: 9 });
    const process = connection.adopt(1, { stdoutFrom: 0, stderrFrom: 0 });
    const ends: string[] = [];
    process.onOutput((stream, _, chunk) => void ends.push(`${stream} ${chunk.length}`));
    expect(await process.exited).toEqual({ signal: 9 });
    expect(ends.toSorted()).toEqual(["stderr 0", "stdout 0"]);
  });

  test("refuses what was not listed, what was adopted, and offsets that were never reached", async () => {
    const { connection } = await reconnected(() => {});
    const from = { stdoutFrom: 0, stderrFrom: 0 };
    const code = (code: string) => expect.objectContaining({ code });
    expect(() => connection.adopt(2, from)).toThrow(code("not_found"));
    expect(() => connection.adopt(1, { ...from, stdoutFrom: 1 })).toThrow(code("invalid_argument"));
    connection.adopt(1, from);
    expect(() => connection.adopt(1, from)).toThrow(code("invalid_state"));
    await expect(connection.start(1, { argv: ["x"] })).rejects.toMatchObject({ code: "invalid_argument" });
  });
});
