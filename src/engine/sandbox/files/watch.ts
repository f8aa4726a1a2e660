import {
  FILE_CHANGES,
  type FileChange,
  SandboxError,
  type WatchFilesRequest,
} from "../../../contract/index.ts";
import { Fields, type ProcessExit, violation } from "../../guest/index.ts";
import { guestOutput } from "../guest-output.ts";
import type { Start } from "./archive.ts";
import { MessageReader } from "./messages.ts";
import { pathBytes, pathText } from "./path-bytes.ts";
import { processFailure } from "./process-failure.ts";

/**
 * Changes of files, told by a process of the agent's own (spec/agent-protocol.md, "watch"). The guest may say anything: a message is
 * bounded by its reader, a change has a known type, and its paths lie below what is watched. It is read no faster than it is taken.
 */

/** More than a message of the largest size can hold. */
const MAX_CHANGES = 65_536;
const MAX_RELATIVE_BYTES = 4095;

/**
 * @param name the sandbox's, for errors
 * @returns when everything is in place: what happens from now on is told, a list at a time
 */
export async function watchFiles(
  start: Start,
  name: string,
  { path, recursive = false, exclude = [] }: WatchFilesRequest,
  signal: AbortSignal | undefined,
): Promise<AsyncGenerator<FileChange[]>> {
  const patterns = exclude.map((pattern) => Buffer.from(pattern).toString("hex"));
  const argv = ["watch", pathBytes(path).toString("hex"), recursive ? "recursive" : "flat", ...patterns];
  const guest = await start({ argv, builtin: "watch" });
  const failed = (complaint: string, exit: ProcessExit) =>
    "signal" in exit ? killed(name, path) : processFailure(name, `watch ${path}`, complaint);
  const output = guestOutput(guest, failed, signal);
  const changes = readChanges(output);
  const first = await changes.next();
  if (first.done !== true) return changes;
  throw new SandboxError("internal", `what watches ${path} in sandbox '${name}' ended before it was ready`);
}

/** A sandbox that stops ends it like its other processes. */
function killed(name: string, path: string): SandboxError {
  return new SandboxError(
    "unavailable",
    `what watches ${path} in sandbox '${name}' was ended: the sandbox stops, or its own processes did it`,
    { hint: "Watch again, and look at what may have changed meanwhile." },
  );
}

/** The first list is empty and says that the guest is ready. */
async function* readChanges(output: AsyncGenerator<Buffer>): AsyncGenerator<FileChange[]> {
  const reader = new MessageReader();
  let ready = false;
  for await (const piece of output) {
    for (const payload of reader.push(piece)) {
      const message = Fields.ofMessage(payload, "a watch's message");
      const op = message.word("op", 32);
      if (op !== (ready ? "changes" : "ready")) throw violation("a watch's message out of order");
      yield ready ? message.list("changes", MAX_CHANGES).map((value) => readChange(value)) : [];
      ready = true;
    }
  }
}

function readChange(value: ReturnType<Fields["list"]>[number]): FileChange {
  const change = new Fields(value, "a change");
  const word = change.word("type", 32);
  const type = FILE_CHANGES.find((one) => one === word);
  if (type === undefined) throw violation("a change of no known type");
  const isFolder = change.has("folder") && change.bool("folder");
  if (type === "overflow") return { type, path: "", isFolder: false };
  const path = relative(change, "path");
  if (!change.has("from")) return { type, path, isFolder };
  if (type !== "moved") throw violation("a change that has a path before and is no move");
  return { type, path, from: relative(change, "from"), isFolder };
}

/** Whoever joins it to a folder of his own must stay in that. */
function relative(change: Fields, key: string): string {
  const bytes = change.bytes(key, MAX_RELATIVE_BYTES);
  if (bytes.length === 0) return "";
  const parts = bytes.toString("latin1").split("/");
  if (bytes.includes(0) || parts.some((part) => part === "" || part === "." || part === "..")) {
    throw violation("a change of a path that is not below what is watched");
  }
  return pathText(bytes);
}
