import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { connectAgent } from "./connect.ts";
import type { AgentConnection } from "./connection.ts";
import { encodeFrame, FrameType } from "./frame.ts";
import { ModelGuest } from "./testing/model-guest.ts";
import { setup } from "./testing/session.ts";

// Over real sockets, as to a VMM.

let folder: string;
let path: string;
let server: Server | undefined;
let connection: AgentConnection | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "msb-agent-"));
  path = join(folder, "agent.sock");
});

afterEach(() => {
  connection?.close();
  server?.close();
  rmSync(folder, { recursive: true });
});

/** A model guest behind a socket; each connection is the same port. */
async function listen(onSocket: (socket: Socket, guest: ModelGuest) => void = () => {}): Promise<ModelGuest> {
  let current: Socket | undefined;
  const guest = new ModelGuest((bytes) => current?.write(bytes));
  server = createServer((socket) => {
    current = socket;
    socket.on("data", (bytes) => guest.receive(bytes));
    socket.on("error", () => {});
    socket.on("close", () => guest.hostGone());
    onSocket(socket, guest);
  });
  await new Promise<void>((resolve) => server!.listen(path, resolve));
  return guest;
}

test("connects, sets up, and runs a process", async () => {
  const guest = await listen();
  guest.onStart = (process) => {
    process.write(1, Buffer.from("42\n"));
    process.exit({ code: 0 });
  };
  connection = await connectAgent(path, { filler: true, setup });
  const process = await connection.start(1, { argv: ["python3"], env: { A: "b" } });
  let text = "";
  process.onOutput((_, __, chunk) => {
    text += chunk;
  });
  expect(await process.exited).toEqual({ code: 0 });
  expect(text).toBe("42\n");
});

test("the hello and the setup leave in one write", async () => {
  const chunks: Buffer[] = [];
  await listen((socket) => socket.on("data", (bytes) => chunks.push(bytes)));
  connection = await connectAgent(path, { filler: false, setup });
  expect(chunks).toHaveLength(1);
});

test("fails with unavailable when nobody listens", async () => {
  await expect(connectAgent(path, { filler: false })).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("ENOENT"),
  });
});

test("fails with unavailable when the VMM goes away", async () => {
  await listen((socket) => socket.destroy());
  await expect(connectAgent(path, { filler: false })).rejects.toMatchObject({ code: "unavailable" });
});

test("fails with cancelled when it was so before", async () => {
  const options = { filler: false, signal: AbortSignal.abort() };
  await expect(connectAgent(path, options)).rejects.toMatchObject({ code: "cancelled" });
});

test("256 MiB of output pass with every credit kept, in seconds", async () => {
  const total = 256 * 1024 * 1024;
  const frame = Buffer.concat(
    encodeFrame({ channel: 1, type: FrameType.data, stream: 1, payload: Buffer.alloc(65_536, 9) }),
  );
  const guest = await listen((socket, guest) => {
    guest.onStart = (process) => {
      let sent = 0;
      let limit = 0;
      const pump = () => {
        while (sent < total && sent + 65_536 <= limit) {
          sent += 65_536;
          socket.write(frame);
        }
        if (sent === total) process.exit({ code: 0 });
      };
      process.takeCredit = (credit) => {
        limit = Number(credit.payload.readBigUInt64BE(8));
        pump();
      };
    };
  });
  connection = await connectAgent(path, { filler: false, setup });
  const began = performance.now();
  const process = await connection.start(1, { argv: ["yes"] });
  let received = 0;
  process.onOutput((stream, offset, chunk) => {
    received += chunk.length;
    process.ack(stream, offset + chunk.length);
  });
  await process.exited;
  const seconds = (performance.now() - began) / 1_000;
  expect(received).toBe(total);
  expect(guest.seen).toEqual(["hello", "setup", "start"]);
  // Both ends share this thread. A quadratic copy anywhere takes minutes; a slow machine does not.
  expect(seconds).toBeLessThan(15);
}, 60_000);
