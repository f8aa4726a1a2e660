import { z } from "zod";
import { SandboxError } from "../../../contract/errors.ts";
import type { Answer } from "./transport.ts";

const MAX_ERROR_BYTES = 64 * 1024;
const MAX_QUOTED_CHARS = 300;

/** The whole of a body. Errors: `invalid_argument` beyond `maxBytes`; `unavailable` when it breaks off. */
export async function readBounded(body: Answer["body"], maxBytes: number, what: string): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxBytes) {
        throw new SandboxError("invalid_argument", `${what}: the answer is larger than ${maxBytes} bytes`);
      }
      parts.push(chunk);
    }
  } catch (error) {
    if (error instanceof SandboxError) throw error;
    throw new SandboxError("unavailable", `${what}: the answer broke off: ${(error as Error).message}`, {
      details: { retry: true },
      cause: error,
    });
  }
  return Buffer.concat(parts);
}

const errorBody = z.object({
  errors: z.array(z.object({ code: z.string().nullish(), message: z.string().nullish() })).min(1),
});

/** What an answer that is no success means for whoever asked. Reads its body. `registry`: as references name it. */
export async function refusal(
  answer: Answer,
  what: string,
  registry: string,
  own: URL,
): Promise<SandboxError> {
  const { status } = answer;
  // What stands elsewhere, where a registry may have sent us, is nobody's to read out.
  const said = answer.url.origin === own.origin ? await reason(answer) : "";
  const message = (text: string) => `${what}: ${text}${said === "" ? "" : ` (${said})`}`;
  const login = `Log in: msb login ${registry}`;
  switch (true) {
    case status === 401:
      return new SandboxError("unauthenticated", message(`${registry} does not let in everybody`), {
        hint: `${login}. It may also be that there is no such image.`,
      });
    case status === 403:
      return new SandboxError("permission_denied", message(`${registry} does not allow it`), { hint: login });
    case status === 404:
      return new SandboxError("not_found", message(`${registry} does not have it`), {
        hint: "Check name and tag.",
      });
    case status === 429:
      return new SandboxError("resource_exhausted", message(`${registry} limits how often it is asked`), {
        hint: `Wait a while. ${login}.`,
      });
    default:
      return new SandboxError("unavailable", message(`${registry} answered ${status}`));
  }
}

async function reason(answer: Answer): Promise<string> {
  const bytes = await readBounded(answer.body, MAX_ERROR_BYTES, "an error").catch(() => Buffer.alloc(0));
  try {
    const { errors } = errorBody.parse(JSON.parse(bytes.toString("utf8")));
    const text = errors[0]!.message || errors[0]!.code || "";
    // It goes to a terminal: nothing that is not for reading.
    return text.replace(/[\p{Cc}\p{Cf}]/gu, "?").slice(0, MAX_QUOTED_CHARS);
  } catch {
    return "";
  }
}
