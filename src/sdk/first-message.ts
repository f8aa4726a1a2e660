import { SandboxError } from "../contract/errors.ts";
import { MAX_STREAM_FRAME } from "../contract/frames.ts";
import type { StreamClientMessage } from "../contract/index.ts";

/**
 * The message that opens a process socket, as text.
 *
 * @throws SandboxError `invalid_argument` when it is longer than the daemon takes: that would close the connection, and not say why
 */
export function firstMessage(message: StreamClientMessage): string {
  const text = JSON.stringify(message);
  const bytes = Buffer.byteLength(text);
  if (bytes <= MAX_STREAM_FRAME) return text;
  const what = message.type === "run" ? "the sandbox and its command" : "the command";
  throw new SandboxError(
    "invalid_argument",
    `${what}, with arguments and environment, come to ${bytes} bytes as JSON; at most ${MAX_STREAM_FRAME} can be sent`,
    { hint: "give large input through stdin, or copy it into the sandbox as a file" },
  );
}
