import { EventEmitter } from "node:events";
import { expect, test } from "vitest";
import type { WebSocket } from "ws";
import { STDIN_WINDOW } from "../contract/index.ts";
import type { EngineProcess } from "../engine/index.ts";
import { ClientMessages } from "./client-messages.ts";

/** As much of a WebSocket as the client's side needs, and what was done to it. */
class Socket extends EventEmitter {
  readonly OPEN = 1;
  readonly readyState = 1;
  isPaused = false;
  readonly sent: unknown[] = [];
  closedWith: number | undefined;
  pause() {
    this.isPaused = true;
  }
  resume() {
    this.isPaused = false;
  }
  send(text: string) {
    this.sent.push(JSON.parse(text));
  }
  close(code: number) {
    this.closedWith = code;
  }
  say(message: object) {
    this.emit("message", Buffer.from(JSON.stringify(message)), false);
  }
  stdin(bytes: number) {
    this.emit("message", Buffer.alloc(bytes + 1), true);
  }
}

/** A process that takes stdin when it is told to. */
function slowProcess() {
  const writes: (() => void)[] = [];
  const signals: string[] = [];
  const process = {
    write: () => new Promise<void>((resolve) => writes.push(resolve)),
    signal: (name: string) => signals.push(name),
    endStdin: () => signals.push("EOF"),
  } as unknown as EngineProcess;
  const read = async () => {
    writes.shift()?.();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { process, signals, read };
}

function begin() {
  const socket = new Socket();
  const client = new ClientMessages(socket as unknown as WebSocket);
  socket.say({ type: "exec", exec: { argv: ["cat"] } });
  return { socket, client };
}

const STEP = STDIN_WINDOW / 4;

test("a client within its window is never paused, and gets more as the process reads", async () => {
  const { socket, client } = begin();
  const { process, signals, read } = slowProcess();
  for (let sent = 0; sent < STDIN_WINDOW; sent += STEP) socket.stdin(STEP);
  client.attach(process);
  socket.say({ type: "signal", signal: "INT" });
  expect(signals).toEqual(["INT"]);
  expect(socket.isPaused).toBe(false);
  await read();
  expect(socket.sent).toEqual([{ type: "stdin_window", bytes: STEP }]);
});

test("a client beyond its window is paused until the process has read", async () => {
  const { socket, client } = begin();
  const { process, read } = slowProcess();
  client.attach(process);
  for (let count = 0; count < 5; count++) socket.stdin(STEP);
  expect(socket.isPaused).toBe(true);
  await read();
  await read();
  expect(socket.isPaused).toBe(true);
  await read();
  expect(socket.isPaused).toBe(false);
});

test("the end of stdin comes behind its bytes", async () => {
  const { socket, client } = begin();
  const { process, signals, read } = slowProcess();
  client.attach(process);
  socket.stdin(10);
  socket.say({ type: "stdin_end" });
  expect(signals).toEqual([]);
  await read();
  expect(signals).toEqual(["EOF"]);
});

test("what the process does not take any more is dropped, not kept", async () => {
  const { socket, client } = begin();
  const broken = { write: () => Promise.reject(new Error("closed")) } as unknown as EngineProcess;
  client.attach(broken);
  for (let count = 0; count < 8; count++) socket.stdin(STEP);
  await new Promise((resolve) => setImmediate(resolve));
  expect(socket.isPaused).toBe(false);
  socket.stdin(STEP);
  expect(socket.closedWith).toBeUndefined();
});

test("a bad message in the middle ends the connection", () => {
  const { socket } = begin();
  socket.say({ type: "signal" });
  expect(socket.closedWith).toBe(1008);
});

test("one connection carries one process", () => {
  const { socket } = begin();
  socket.say({ type: "exec", exec: { argv: ["ls"] } });
  expect(socket.closedWith).toBe(1008);
});
