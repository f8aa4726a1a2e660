import { readFileSync, statSync } from "node:fs";
import { z } from "zod";
import { SandboxError } from "../../../contract/errors.ts";

const MAX_BYTES = 1024 * 1024;

/**
 * Entries by registry, whose keys must be spelled as names are known: one that is not would silently hold for nothing.
 *
 * @param spelling gives the right spelling of a key; undefined if it is none
 * @param what a key is, with an example
 */
export function byRegistry<T extends z.ZodType>(
  entry: T,
  spelling: (key: string) => string | undefined,
  what: string,
) {
  return z.record(z.string(), entry).superRefine((entries, context) => {
    for (const key of Object.keys(entries)) {
      const right = spelling(key);
      if (right === key) continue;
      const message = right === undefined ? `the name must be ${what}` : `must be written as "${right}"`;
      context.addIssue({ code: "custom", path: [key], message });
    }
  });
}

/**
 * A file of settings that its owner writes: JSON, checked against a schema, read again when it has changed. One that is
 * not there counts as `{}`.
 */
export class SettingsFile<T> {
  readonly path: string;
  readonly #schema: z.ZodType<T>;
  #read: { key: string; value: T } | undefined;

  constructor(path: string, schema: z.ZodType<T>) {
    this.path = path;
    this.#schema = schema;
  }

  /** What the file says now. Errors: `invalid_argument` naming file and field; `permission_denied`. */
  get(): T {
    const stat = statSync(this.path, { throwIfNoEntry: false });
    const key = stat === undefined ? "" : `${stat.ino} ${stat.mtimeMs} ${stat.size}`;
    if (this.#read?.key !== key)
      this.#read = { key, value: this.#parse(stat === undefined ? "{}" : this.#text(stat.size)) };
    return this.#read.value;
  }

  #text(size: number): string {
    if (size > MAX_BYTES) throw this.#wrong(`it has ${size} bytes, ${MAX_BYTES} are allowed`);
    try {
      return readFileSync(this.path, "utf8");
    } catch (cause) {
      throw new SandboxError("permission_denied", `${this.path} cannot be read`, {
        hint: "It must be readable by the user who runs the daemon.",
        cause,
      });
    }
  }

  #parse(text: string): T {
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch (cause) {
      throw this.#wrong((cause as Error).message, cause);
    }
    const parsed = this.#schema.safeParse(json);
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0]!;
    throw this.#wrong(`${issue.path.join(".") || "it"}: ${issue.message}`);
  }

  #wrong(reason: string, cause?: unknown): SandboxError {
    return new SandboxError("invalid_argument", `${this.path} is not valid: ${reason}`, {
      hint: "Correct the file, or take it away; the guide describes it.",
      cause,
    });
  }
}
