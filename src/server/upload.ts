import type { IncomingMessage } from "node:http";
import { type Readable, Transform } from "node:stream";
import type { Context } from "hono";
import { MAX_HEADER_JSON_BYTES, SandboxError } from "../contract/index.ts";

/** Bodies that stream into the engine, and the JSON that goes beside them in a header. */

/** A tar beyond this is a mistake or an attack. */
export const MAX_TAR_BYTES = 64 * 1024 ** 3;

/** What a route says of a body that is a tar. */
export const tarBody = {
  required: true,
  content: { "application/x-tar": { schema: { type: "string", format: "binary" } as const } },
};

/**
 * Gives the request's body, at most `maxBytes` (default 64 GiB) of it, to `use`, and frees it afterwards.
 *
 * @param what is sent, as "image my/image"
 */
export async function withUpload<T>(
  c: Context,
  what: string,
  use: (body: Readable) => Promise<T>,
  maxBytes = MAX_TAR_BYTES,
): Promise<T> {
  // The request itself rather than its web stream: a copy less per chunk, and its errors say more.
  const { incoming } = c.env as { incoming: IncomingMessage };
  const body = incoming.pipe(atMost(maxBytes, what));
  // Whoever uses it hears of an error by reading. One that comes when nobody reads any more must not end the daemon.
  body.on("error", () => {});
  // `pipe` forwards no end by accident: without this we would wait for ever for a client that is gone.
  const onClose = () => {
    if (!incoming.complete) {
      body.destroy(new SandboxError("cancelled", `the client went away while it sent ${what}`));
    }
  };
  incoming.once("close", onClose);
  try {
    return await use(body);
  } finally {
    incoming.off("close", onClose);
    incoming.unpipe(body);
    body.destroy();
    // What the client still sends is read and thrown away, so that it gets to read the answer.
    incoming.resume();
  }
}

/**
 * @param what it is, for errors
 * @returns undefined if there is no such header
 */
export function jsonHeader(c: Context, header: string, what: string): unknown {
  const value = c.req.header(header);
  if (value === undefined) return undefined;
  const bytes = Buffer.from(value, "base64");
  if (bytes.length > MAX_HEADER_JSON_BYTES) {
    throw new SandboxError(
      "invalid_argument",
      `${what} has ${bytes.length} bytes, ${MAX_HEADER_JSON_BYTES} are allowed`,
    );
  }
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch (cause) {
    throw new SandboxError("invalid_argument", `${what} is not base64 of JSON`, { cause });
  }
}

function atMost(limit: number, what: string): Transform {
  let seen = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      seen += chunk.length;
      if (seen <= limit) done(null, chunk);
      else done(new SandboxError("resource_exhausted", `${what} is larger than ${limit} bytes`));
    },
  });
}
