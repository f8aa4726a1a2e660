/**
 * A blob of a registry as one stream, however often the connection breaks: it goes on where it was, and size and digest are
 * checked as the bytes pass. What breaks off, stalls or answers nonsense is asked again with growing pauses, as long as there is
 * progress; when a mirror gives up, the next one goes on.
 */

import { createHash } from "node:crypto";
import { SandboxError } from "../../../contract/errors.ts";
import type { Descriptor } from "../manifest.ts";
import { refusal } from "./answer-body.ts";
import type { Registry } from "./registry.ts";
import { type Answer, cancelled, discard } from "./transport.ts";

export interface BlobOptions {
  /** Where it may be had, in the order in which they are asked. */
  registries: readonly Registry[];
  /** `library/python` */
  repository: string;
  descriptor: Descriptor;
  /** What it is, as errors say it: `layer sha256:… of python:3.12`. */
  what: string;
  signal?: AbortSignal | undefined;
  /** Bytes so far. */
  onProgress?: ((bytes: number) => void) | undefined;
  /** Something broke and is tried again. */
  onRetry?: (() => void) | undefined;
}

/** Attempts in a row that brought nothing. */
const MAX_FRUITLESS = 5;
/** Attempts in all: a registry that gives a byte at a time is none. */
const MAX_ATTEMPTS = 100;

/**
 * The blob's bytes as they travel.
 *
 * Errors: `invalid_argument` when size or digest are not the descriptor's; `unavailable`, `not_found`, `unauthenticated`,
 * `permission_denied`, `resource_exhausted` as the last registry has it; `cancelled`.
 */
export async function* downloadBlob(options: BlobOptions): AsyncGenerator<Buffer> {
  const { registries, descriptor, what, signal } = options;
  const hash = createHash("sha256");
  let position = 0;
  let at = 0;
  let fruitless = 0;
  let ranges = true;
  for (let attempt = 1; position < descriptor.size || attempt === 1; attempt++) {
    const registry = registries[at]!;
    const before = position;
    let error: unknown;
    try {
      for await (const chunk of piecesFrom(options, registry, position, ranges)) {
        position += chunk.length;
        if (position > descriptor.size)
          throw notItself(what, `it has more than the ${descriptor.size} bytes that it should have`);
        hash.update(chunk);
        options.onProgress?.(position);
        yield chunk;
      }
      if (position === descriptor.size) break;
      error = new SandboxError(
        "unavailable",
        `${what}: the transfer ended after ${position} of ${descriptor.size} bytes`,
        {
          hint: "The registry or something on the way cuts it off.",
          details: { retry: true },
        },
      );
    } catch (caught) {
      if (signal?.aborted) throw cancelled(what, caught);
      error = caught;
    }
    fruitless = position > before ? 0 : fruitless + 1;
    // It has the blob and not this part of it, so it says: then from its beginning.
    if (error instanceof SandboxError && error.details?.noRange === true) ranges = false;
    const canRetry = error instanceof SandboxError && error.details?.retry === true;
    if (error instanceof SandboxError && error.code === "invalid_argument") throw error;
    if (!canRetry || fruitless >= MAX_FRUITLESS || attempt >= MAX_ATTEMPTS) {
      if (at + 1 === registries.length) throw error;
      at++;
      fruitless = 0;
      ranges = true;
    } else {
      await registry.sleep(registry.backoffMs(fruitless + 1), signal, what);
    }
    options.onRetry?.();
  }
  const digest = `sha256:${hash.digest("hex")}`;
  if (digest !== descriptor.digest) throw notItself(what, `what came is ${digest}`);
}

async function* piecesFrom(
  options: BlobOptions,
  registry: Registry,
  position: number,
  ranges: boolean,
): AsyncGenerator<Buffer> {
  const { repository, descriptor, what, signal } = options;
  const answer = await registry.send({
    method: "GET",
    target: `${repository}/blobs/${descriptor.digest}`,
    scope: `repository:${repository}:pull`,
    headers: position > 0 && ranges ? { range: `bytes=${position}-` } : {},
    what,
    signal,
    onRetry: options.onRetry,
  });
  let skip = await offsetOf(answer, registry, options, position);
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      if (skip >= chunk.length) skip -= chunk.length;
      else {
        yield skip === 0 ? chunk : chunk.subarray(skip);
        skip = 0;
      }
    }
  } catch (error) {
    throw new SandboxError("unavailable", `${what}: the transfer broke off: ${(error as Error).message}`, {
      details: { retry: true },
      cause: error,
    });
  } finally {
    answer.body.destroy();
  }
}

/** How many of the answer's bytes are known already: a server may not know ranges. */
async function offsetOf(
  answer: Answer,
  registry: Registry,
  options: BlobOptions,
  position: number,
): Promise<number> {
  const { what } = options;
  if (answer.status === 200) return position;
  if (answer.status === 206) {
    const range = /^bytes ([0-9]{1,15})-/.exec(String(answer.headers["content-range"] ?? ""));
    const start = range === null ? Number.NaN : Number(range[1]);
    if (start <= position) return position - start;
    await discard(answer);
    throw new SandboxError("unavailable", `${what}: ${registry.name} gave another range than was asked for`);
  }
  if (answer.status === 416 && position > 0) {
    await discard(answer);
    throw new SandboxError(
      "unavailable",
      `${what}: ${registry.name} does not have it from byte ${position} on`,
      { details: { retry: true, noRange: true } },
    );
  }
  throw await refusal(answer, what, registry.name, await registry.base(options.signal));
}

function notItself(what: string, reason: string): SandboxError {
  return new SandboxError("invalid_argument", `${what} is not what its digest says: ${reason}`, {
    hint: "The registry is broken, or somebody changes what it sends. Do not use this image.",
  });
}
