import { type Cbor, decodeCbor, encodeCbor } from "../cbor.ts";
import { decodeCredit, encodeCredit, encodeFrame, type Frame, FrameType } from "../frame.ts";
import { MAGIC } from "../sync.ts";
import { HuntingReceiver } from "./hunting-receiver.ts";

/**
 * A guest's end of the agent protocol for tests, without a guest: processes are scripted. Written from
 * spec/agent-protocol.md. The real agent is tested in a VM; this one can be cut at any byte.
 */
export class ModelGuest {
  /** Every message that came, by `op`, in order. */
  readonly seen: string[] = [];
  readonly processes = new Map<number, ModelProcess>();
  phase: "ready" | "running" = "ready";
  /** Whether its processes stand still, as its hello tells. */
  frozen = false;
  /** Answers of requests that the test wants to be other ones; undefined is no answer. */
  answers: Record<string, ((message: Map<string, Cbor>) => unknown) | undefined> = {};
  /** What a started process does. */
  onStart: (process: ModelProcess, message: Map<string, Cbor>) => void = () => {};
  readonly #send: (bytes: Buffer) => void;
  readonly #receiver = new HuntingReceiver((frame) => opOf(frame) === "hello");
  #nextPid = 100;

  constructor(send: (bytes: Buffer) => void) {
    this.#send = send;
  }

  receive(bytes: Buffer): void {
    for (const frame of this.#receiver.push(bytes)) this.#receiveFrame(frame);
  }

  /** The port reports that the host has gone. */
  hostGone(): void {
    this.#receiver.hostGone();
    for (const process of this.processes.values()) process.disconnect();
  }

  sendFrame(frame: Frame): void {
    this.#send(Buffer.concat(encodeFrame(frame)));
  }

  sendMessage(channel: number, message: unknown): void {
    this.sendFrame({ channel, type: FrameType.control, stream: 0, payload: encodeCbor(message) });
  }

  #receiveFrame(frame: Frame): void {
    if (frame.type === FrameType.data) this.processes.get(frame.channel)?.takeStdin(frame.payload);
    else if (frame.type === FrameType.credit) this.processes.get(frame.channel)?.takeCredit(frame);
    else this.#receiveMessage(frame.channel, decodeCbor(frame.payload) as Map<string, Cbor>);
  }

  #receiveMessage(channel: number, message: Map<string, Cbor>): void {
    const op = String(message.get("op"));
    this.seen.push(op);
    if (op === "hello") {
      for (const process of this.processes.values()) process.disconnect();
      this.#send(Buffer.concat([MAGIC, this.#receiver.nonce!]));
      this.sendMessage(0, this.answers.hello?.(message) ?? this.#hello());
      for (const process of this.processes.values()) process.reconnect();
    } else if (channel === 0) {
      const answer = op in this.answers ? this.answers[op]?.(message) : this.#answer(op);
      if (answer !== undefined)
        this.sendMessage(0, { op: "reply", id: message.get("id"), ...(answer as object) });
    } else if (op === "start") {
      if (op in this.answers) {
        const answer = this.answers.start?.(message);
        if (answer !== undefined) this.sendMessage(channel, answer);
        return;
      }
      const process = new ModelProcess(this, channel, this.#nextPid++);
      this.processes.set(channel, process);
      this.sendMessage(channel, { op: "started", pid: process.pid });
      process.grantStdin();
      this.onStart(process, message);
    } else if (op === "close") {
      this.processes.delete(channel);
    } else if (op === "signal") {
      this.processes.get(channel)?.signals.push(Number(message.get("signal")));
    }
  }

  #answer(op: string): unknown {
    if (op === "setup") {
      this.phase = "running";
      return { reseeded: true, time_ns: 1_767_225_600_000_000_000n, timings: { root: 1_200 } };
    }
    if (op === "ping") return { time_ns: 1, uptime_ms: 2, processes: this.processes.size };
    return { killed: this.processes.size };
  }

  #hello(): unknown {
    return {
      op: "hello",
      version: 1,
      agent: "model",
      capabilities: [],
      phase: this.phase,
      boot: "b00t",
      ...(this.frozen && { frozen: true }),
      processes: [...this.processes.values()].map((process) => process.listed()),
    };
  }
}

const KEPT_BYTES = 1024 * 1024;
const STDIN_WINDOW = 262_144;

export class ModelProcess {
  readonly channel: number;
  readonly pid: number;
  readonly signals: number[] = [];
  stdin: Buffer = Buffer.alloc(0);
  stdinEnded = false;
  /** Bytes of stdin that the process leaves in its pipe. */
  stdinUntaken = 0;
  readonly #guest: ModelGuest;
  readonly #streams: [ModelOutput, ModelOutput];
  #exit: unknown;
  #exitSent = false;
  #connected = true;

  constructor(guest: ModelGuest, channel: number, pid: number) {
    this.#guest = guest;
    this.channel = channel;
    this.pid = pid;
    this.#streams = [new ModelOutput(guest, channel, 1), new ModelOutput(guest, channel, 2)];
  }

  /** The process writes; what no buffer has room for while a host is there is the test's mistake. */
  write(stream: 1 | 2, bytes: Buffer): void {
    this.#streams[stream - 1]!.write(bytes, this.#connected);
    this.pump();
  }

  room(stream: 1 | 2): number {
    return KEPT_BYTES - this.#streams[stream - 1]!.held.length;
  }

  exit(exit: { code: number } | { signal: number }): void {
    this.#exit = exit;
    for (const stream of this.#streams) stream.ended = true;
    this.pump();
  }

  listed(): unknown {
    const [stdout, stderr] = this.#streams;
    return {
      channel: this.channel,
      pid: this.pid,
      stdin: this.stdin.length,
      stdout: [stdout.start, stdout.end],
      stderr: [stderr.start, stderr.end],
      exit: this.#exit,
    };
  }

  takeStdin(payload: Buffer): void {
    if (payload.length === 0) this.stdinEnded = true;
    this.stdin = Buffer.concat([this.stdin, payload]);
    this.grantStdin();
  }

  grantStdin(): void {
    const acked = Math.max(0, this.stdin.length - this.stdinUntaken);
    const payload = encodeCredit({ acked, limit: acked + STDIN_WINDOW });
    this.#guest.sendFrame({ channel: this.channel, type: FrameType.credit, stream: 0, payload });
  }

  takeCredit(frame: Frame): void {
    const credit = decodeCredit(frame.payload);
    if (credit === undefined || frame.stream === 0) throw new Error("the host sent a wrong credit");
    this.#streams[frame.stream - 1]!.grant(credit.acked, credit.limit);
    this.pump();
  }

  disconnect(): void {
    this.#connected = false;
    for (const stream of this.#streams) stream.limit = 0;
  }

  reconnect(): void {
    this.#connected = true;
    this.#exitSent = false;
    for (const stream of this.#streams) stream.reconnect();
    this.grantStdin();
    this.pump();
  }

  pump(): void {
    if (!this.#connected) return;
    for (const stream of this.#streams) stream.pump();
    if (this.#exit !== undefined && !this.#exitSent && this.#streams.every((stream) => stream.endSent)) {
      this.#exitSent = true;
      this.#guest.sendMessage(this.channel, { op: "exit", ...(this.#exit as object) });
    }
  }
}

class ModelOutput {
  held: Buffer = Buffer.alloc(0);
  start = 0;
  limit = 0;
  ended = false;
  endSent = false;
  readonly #guest: ModelGuest;
  readonly #channel: number;
  readonly #stream: 1 | 2;
  #sent = 0;

  constructor(guest: ModelGuest, channel: number, stream: 1 | 2) {
    this.#guest = guest;
    this.#channel = channel;
    this.#stream = stream;
  }

  get end(): number {
    return this.start + this.held.length;
  }

  write(bytes: Buffer, connected: boolean): void {
    this.held = Buffer.concat([this.held, bytes]);
    const over = this.held.length - KEPT_BYTES;
    if (over <= 0) return;
    if (connected) throw new Error("the process wrote more than the guest keeps");
    this.held = this.held.subarray(over);
    this.start += over;
  }

  grant(acked: number, limit: number): void {
    if (limit < this.limit) throw new Error("the host's credit went back");
    if (acked > this.end) throw new Error("the host acknowledged what was not written");
    if (acked > this.start) {
      this.held = this.held.subarray(acked - this.start);
      this.start = acked;
    }
    this.limit = limit;
  }

  reconnect(): void {
    this.#sent = -1;
    this.endSent = false;
    this.limit = 0;
  }

  pump(): void {
    // After a reconnect it goes on from max(acked, start) of the first credit.
    if (this.#sent < this.start) this.#sent = this.start;
    while (this.#sent < Math.min(this.end, this.limit)) {
      const length = Math.min(65_536, this.end - this.#sent, this.limit - this.#sent);
      const at = this.#sent - this.start;
      this.#frame(this.held.subarray(at, at + length));
      this.#sent += length;
    }
    if (this.ended && !this.endSent && this.#sent === this.end) {
      this.endSent = true;
      this.#frame(Buffer.alloc(0));
    }
  }

  #frame(payload: Buffer): void {
    this.#guest.sendFrame({ channel: this.#channel, type: FrameType.data, stream: this.#stream, payload });
  }
}

function opOf(frame: Frame): unknown {
  if (frame.channel !== 0 || frame.type !== FrameType.control) return undefined;
  const message = decodeCbor(frame.payload);
  return message instanceof Map ? message.get("op") : undefined;
}
