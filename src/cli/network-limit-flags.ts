import { SandboxError } from "../contract/errors.ts";
import type { NetworkChanges, SandboxSpecInput } from "../sdk/index.ts";
import { parseMebibytes } from "./quantity.ts";

/** `--net-limit KEY=VALUE` of `run` and `create`, and the same words of `msb net limit`, where `none` lifts a limit. */

type Limits = NonNullable<NonNullable<SandboxSpecInput["network"]>["limits"]>;
type Key = keyof Limits;

/** Out is from the sandbox. */
const KEYS: Record<string, { key: Key; bytes?: true; always?: true }> = {
  "bytes-out": { key: "egressBytesPerSecond", bytes: true },
  "bytes-in": { key: "ingressBytesPerSecond", bytes: true },
  "packets-out": { key: "egressPacketsPerSecond" },
  "packets-in": { key: "ingressPacketsPerSecond" },
  connections: { key: "connections", always: true },
  queries: { key: "queriesPerSecond", always: true },
};

export const LIMIT_WORDS = Object.keys(KEYS).join(", ");

/** @param lifting whether `none` may be said. @throws SandboxError `invalid_argument` for other words, or one that is said twice */
export function parseLimits(words: readonly string[], lifting: false): Limits;
export function parseLimits(words: readonly string[], lifting: true): NetworkChanges["limits"];
export function parseLimits(words: readonly string[], lifting: boolean): object | undefined {
  const limits = new Map<Key, number | null>();
  for (const word of words) {
    const [name = "", value = "", ...rest] = word.split("=");
    const known = Object.hasOwn(KEYS, name) ? KEYS[name] : undefined;
    if (known === undefined || value === "" || rest.length > 0)
      throw invalid(word, "is no limit", `${LIMIT_WORDS}: for example bytes-out=10M or packets-in=2000`);
    const { key, bytes, always } = known;
    if (limits.has(key)) throw invalid(word, `is a second limit for ${name}`);
    if (value === "none") {
      if (!lifting || always)
        throw invalid(word, always ? "cannot be lifted" : "asks for nothing", "Leave it out.");
      limits.set(key, null);
    } else limits.set(key, bytes ? bytesOf(word, value) : countOf(word, value));
  }
  return Object.fromEntries(limits);
}

function bytesOf(word: string, value: string): number {
  if (/^\d+(?:K|KiB|KB)$/i.test(value)) return Number.parseInt(value, 10) * 1024;
  try {
    return parseMebibytes(value) * 1024 ** 2;
  } catch (error) {
    throw invalid(word, `is not understood: ${(error as Error).message}`);
  }
}

function countOf(word: string, value: string): number {
  if (/^\d{1,9}$/.test(value)) return Number(value);
  throw invalid(word, "is not a whole number");
}

function invalid(word: string, why: string, hint?: string): SandboxError {
  return new SandboxError("invalid_argument", `network limit: "${word}" ${why}`, { hint });
}
