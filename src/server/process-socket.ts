import type { WebSocket } from "ws";
import { SandboxError, type StreamServerMessage } from "../contract/index.ts";
import type { Engine, EngineProcess } from "../engine/index.ts";
import { ClientMessages } from "./client-messages.ts";
import { createSandbox, preparedImage } from "./prepared.ts";
import { sendOutput, sendPiece } from "./process-output.ts";
import { logIfInternal } from "./status.ts";

/** The WebSockets that carry a process: `/v1/run`, and below `/v1/sandboxes/{ref}` `exec` and `processes/{process}/attach`. */

export interface SocketContext {
  engine: Engine;
  leaving: AbortSignal;
  log(message: string): void;
}

/** Label of sandboxes that must not outlive their client, nor a daemon that crashed under them. */
export const BOUND_LABEL = "msb.bound";

/** After its client has gone a process gets HUP, as from a terminal, and KILL this much later. */
const ABANDONED_GRACE_MS = 2000;

export async function serveExec(socket: WebSocket, context: SocketContext, ref: string): Promise<void> {
  const { engine, leaving } = context;
  await answering(socket, context, async (client, signal) => {
    const { exec } = await client.first("exec");
    const process = await engine.sandboxes.exec(ref, exec, { signal });
    const end = await carry(socket, client, process, () => stopReason(engine, ref));
    if (end === "exited") return;
    if (end === "detached" || leaving.aborted) process.detach();
    else endAbandoned(process);
  });
}

export async function serveRun(socket: WebSocket, context: SocketContext): Promise<void> {
  const { engine } = context;
  const { sandboxes } = engine;
  await answering(socket, context, async (client, signal) => {
    const { sandbox: spec, exec, keep, held } = await client.first("run");
    const bound = { ...spec, autoRemove: true, labels: { ...spec.labels, [BOUND_LABEL]: "true" } };
    const info = await createSandbox(engine, keep ? spec : bound, {
      signal,
      onProgress: (progress) => say(socket, { type: "progress", progress }),
    });
    let started = false;
    let runsOn: EngineProcess | undefined;
    try {
      say(socket, { type: "sandbox", sandbox: info });
      // The image's own command runs in a prepared one already, as far as it was wanted.
      const prepared = exec.argv === undefined && (await preparedImage(engine, spec.image)) !== undefined;
      const argv = prepared ? [] : sandboxes.commandOf(info.id, exec.argv);
      if (argv.length === 0) {
        throw new SandboxError(
          "invalid_argument",
          `image ${spec.image} names no command, and none was given`,
          {
            hint: "give one after the image",
          },
        );
      }
      if (held) await client.begun;
      const process = await sandboxes.exec(info.id, { ...exec, argv }, { signal });
      started = true;
      const end = await carry(socket, client, process, () => stopReason(engine, info.id));
      if (end === "gone" && keep) process.detach();
      if (end === "detached") {
        process.detach();
        runsOn = process;
      }
    } finally {
      // A sandbox whose one command never started is of no use to anybody, kept or not.
      if (runsOn !== undefined && !keep) removeAfter(engine, info.id, runsOn);
      else if (!keep || !started) await removeQuietly(engine, info.id);
    }
  });
}

async function carry(
  socket: WebSocket,
  client: ClientMessages,
  process: EngineProcess,
  whyStopped: () => string | undefined,
): Promise<"exited" | "detached" | "gone"> {
  say(socket, { type: "started", process: process.process, pid: process.pid });
  const output = sendOutput(socket, process);
  client.attach(process);
  const end = await Promise.race([output, client.detached]);
  if (end === "gone" || end === "detached") {
    process.exited.catch(() => {}); // whoever gave up on it does not want to hear of its end either
    if (end === "detached") {
      say(socket, { type: "detached" });
      socket.close(1000);
    }
    return end;
  }
  const reason = whyStopped();
  say(socket, { type: "exit", status: reason === undefined ? end : { ...end, stopReason: reason } });
  socket.close(1000);
  return "exited";
}

/** Why the sandbox is being stopped, if a limit does it; what a user does has no reason. */
function stopReason(engine: Engine, ref: string): string | undefined {
  try {
    const { state, reason } = engine.sandboxes.get(ref);
    return state === "stopping" ? reason : undefined;
  } catch {
    return undefined; // removed in the meantime
  }
}

/** A process that is not the client's own: it goes on when the client goes. */
export async function serveAttach(
  socket: WebSocket,
  context: SocketContext,
  ref: string,
  number: number,
): Promise<void> {
  await answering(socket, context, async (client, signal) => {
    const { from } = await client.first("attach");
    const attached = context.engine.sandboxes.processes(ref).attach(number, from);
    say(socket, { type: "attached", process: attached.info, from: attached.from });
    client.attach(attached);
    const left = new AbortController();
    void client.detached.then(() => left.abort());
    const over = AbortSignal.any([signal, left.signal]);
    for await (const piece of attached.output(over)) {
      if ("lost" in piece) say(socket, { type: "lost", stream: piece.stream, bytes: piece.lost });
      else await sendPiece(socket, piece.stream, piece.data);
    }
    if (left.signal.aborted) {
      say(socket, { type: "detached" });
    } else if (!over.aborted) {
      const { exit, state } = attached.current();
      if (state === "running") {
        // Its log was closed under it: the sandbox is gone, or the daemon is about to be.
        throw new SandboxError("unavailable", `process ${number} cannot be followed any more`);
      }
      if (exit === undefined) {
        throw new SandboxError("unavailable", `process ${number} is gone: its VM ended under it`);
      }
      say(socket, { type: "exit", status: exit });
    }
    socket.close(1000);
  });
}

/** Runs a handler, aborts it when the client goes, and turns what it throws into the last message. */
async function answering(
  socket: WebSocket,
  { leaving, log }: SocketContext,
  handler: (client: ClientMessages, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const gone = new AbortController();
  // 1012 is "service restart". Sandboxes and what runs in them do not end with the daemon, only the connection does.
  const leave = () => socket.close(1012, "the daemon is leaving");
  leaving.addEventListener("abort", leave, { once: true });
  socket.once("close", () => {
    leaving.removeEventListener("abort", leave);
    gone.abort();
  });
  socket.on("error", () => {}); // `close` follows, and that is what is acted on
  try {
    await handler(new ClientMessages(socket), gone.signal);
  } catch (error) {
    logIfInternal(error, "a process socket", log);
    say(socket, { type: "error", error: SandboxError.from(error).toBody() });
    socket.close(1011);
  }
}

function say(socket: WebSocket, message: StreamServerMessage): void {
  if (socket.readyState === socket.OPEN) socket.send(JSON.stringify(message));
}

function endAbandoned(process: EngineProcess): void {
  const signal = (name: string) => {
    try {
      process.signal(name);
    } catch {
      // it has ended in the meantime
    }
  };
  signal("SIGHUP");
  const timer = setTimeout(signal, ABANDONED_GRACE_MS, "SIGKILL");
  timer.unref();
  process.exited.then(
    () => clearTimeout(timer),
    () => clearTimeout(timer),
  );
}

/** A sandbox for one command, whose client has gone and let it run on, lives as long as the command. */
function removeAfter(engine: Engine, id: string, process: EngineProcess): void {
  const remove = () => void removeQuietly(engine, id).catch(() => {});
  process.exited.then(remove, remove);
}

async function removeQuietly(engine: Engine, id: string): Promise<void> {
  try {
    await engine.sandboxes.remove(id, { force: true });
  } catch (error) {
    // `autoRemove` may have been faster; anything else leaves the sandbox visible in `msb ls`, with its state.
    if (SandboxError.from(error).code !== "not_found") throw error;
  }
}

/** Removes what a daemon that died left of sandboxes bound to connections: their clients are gone by definition. */
export async function removeBound(engine: Engine): Promise<void> {
  const left = engine.sandboxes.list({ labels: { [BOUND_LABEL]: "true" } });
  await Promise.allSettled(left.map((sandbox) => removeQuietly(engine, sandbox.id)));
}
