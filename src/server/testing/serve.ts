import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocket } from "ws";
import { daemonSocket, type StreamClientMessage, type StreamServerMessage } from "../../contract/index.ts";
import type { Engine } from "../../engine/index.ts";
import { type Daemon, startDaemon } from "../daemon.ts";
import { prepareHome } from "../daemon-home.ts";
import { openLocalEngine } from "./local-engine.ts";

/** A daemon in this process, in a home of its own, for tests. */
export class TestServer implements AsyncDisposable {
  readonly home: string;
  readonly engine: Engine;
  readonly daemon: Daemon;

  static async start(options: { idleExitMs?: number; build?: string } = {}): Promise<TestServer> {
    const home = mkdtempSync(join(tmpdir(), "msb-server-"));
    prepareHome(home);
    const engine = openLocalEngine(home);
    const daemon = await startDaemon({
      home,
      engine,
      lock: { release() {} },
      build: options.build ?? "test",
      idleExitMs: options.idleExitMs ?? 600_000,
      log() {},
    });
    return new TestServer(home, engine, daemon);
  }

  private constructor(home: string, engine: Engine, daemon: Daemon) {
    this.home = home;
    this.engine = engine;
    this.daemon = daemon;
  }

  get socketPath(): string {
    return daemonSocket(this.home);
  }

  /** Opens a process socket and sends its first message. */
  async open(
    path: string,
    first: StreamClientMessage,
    headers: Record<string, string> = {},
  ): Promise<TestClient> {
    const socket = new WebSocket(`ws+unix:${this.socketPath}:${path}`, { perMessageDeflate: false, headers });
    const client = new TestClient(socket);
    await new Promise((resolve, reject) => {
      socket.once("open", resolve);
      socket.once("error", reject);
    });
    client.say(first);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.daemon.leave("the test is over");
    await this.daemon.left;
    rmSync(this.home, { recursive: true, force: true });
  }
}

/** The client's end of a process socket, bare. */
export class TestClient {
  readonly socket: WebSocket;
  readonly messages: StreamServerMessage[] = [];
  readonly output = { stdout: 0, stderr: 0 };
  text = "";
  readonly closed: Promise<number>;
  #changed = () => {};

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      if (!isBinary) this.messages.push(JSON.parse(data.toString()) as StreamServerMessage);
      else {
        this.output[data[0] === 2 ? "stderr" : "stdout"] += data.length - 1;
        if (this.text.length < 10_000) this.text += data.subarray(1).toString();
      }
      this.#changed();
    });
    this.closed = new Promise((resolve) => socket.once("close", resolve));
  }

  say(message: StreamClientMessage): void {
    this.socket.send(JSON.stringify(message));
  }

  stdin(data: string | Buffer): void {
    this.socket.send(Buffer.concat([Buffer.from([0]), Buffer.from(data)]));
  }

  /** The first message of a type, now or when it comes. */
  async message<T extends StreamServerMessage["type"]>(
    type: T,
  ): Promise<Extract<StreamServerMessage, { type: T }>> {
    await this.until(() => this.messages.some((message) => message.type === type));
    return this.messages.find((message) => message.type === type) as Extract<
      StreamServerMessage,
      { type: T }
    >;
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }
}

/** Waits for a condition that nothing announces, with a deadline. */
export async function eventually(what: string, condition: () => boolean, deadlineMs = 10_000): Promise<void> {
  const until = performance.now() + deadlineMs;
  while (!condition()) {
    if (performance.now() > until) throw new Error(`waited ${deadlineMs} ms for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
