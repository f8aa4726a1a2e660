import { SandboxError } from "../contract/errors.ts";

/**
 * All of stdin, for what is small.
 *
 * @throws `invalid_argument` if it has more than `maxBytes`
 */
export async function bytesOfStdin(maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      throw new SandboxError("invalid_argument", `stdin has more than ${maxBytes} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
