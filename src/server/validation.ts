import type { z } from "zod";
import { SandboxError } from "../contract/index.ts";

/**
 * Turns what zod found into one `invalid_argument` that a person can act on: the field by its path, and a sentence about it.
 * `details.issues` lists all of them for programs.
 */
export function invalidArgument(where: string, error: z.ZodError): SandboxError {
  const issues = error.issues.flatMap((issue) => describe(issue));
  const [first] = issues;
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : "";
  const field = first?.path ? `\`${first.path}\`: ` : "";
  return new SandboxError("invalid_argument", `${where}: ${field}${first?.message ?? "not valid"}${more}`, {
    details: { field: first?.path ?? "", issues },
  });
}

/** Parses what a client sent; what does not fit becomes `invalid_argument`. */
export function parseInput<T>(where: string, schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw invalidArgument(where, parsed.error);
}

interface Issue {
  path: string;
  message: string;
}

function describe(issue: z.core.$ZodIssue): Issue[] {
  const path = pathOf(issue.path);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      path: pathOf([...issue.path, key]),
      message: "there is no such field",
    }));
  }
  // A union whose variants all failed says nothing itself; the variant that got furthest does.
  if (issue.code === "invalid_union" && issue.errors.length > 0) {
    const best = [...issue.errors].sort((a, b) => depth(b) - depth(a))[0] ?? [];
    if (best.length > 0) {
      return best.flatMap((inner) =>
        describe({ ...inner, path: [...issue.path, ...inner.path] } as z.core.$ZodIssue),
      );
    }
  }
  return [{ path, message: sentence(issue) }];
}

const depth = (issues: z.core.$ZodIssue[]) => Math.max(0, ...issues.map((issue) => issue.path.length));

function sentence(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return issue.message.endsWith("received undefined")
        ? "is required"
        : `must be ${article(issue.expected)}`;
    case "too_small":
      return bound(issue.origin, "at least", issue.minimum, issue.message);
    case "too_big":
      return bound(issue.origin, "at most", issue.maximum, issue.message);
    case "invalid_value":
      return `must be one of ${issue.values.map((value) => JSON.stringify(value)).join(", ")}`;
    case "invalid_key":
      return issue.issues[0]?.message ?? issue.message;
    default:
      return issue.message;
  }
}

function bound(origin: string, side: string, limit: number | bigint, message: string): string {
  // The schema's own words, where it has some, are better than ours.
  if (!message.startsWith("Too ")) return message;
  if (origin === "string") return `must have ${side} ${limit} characters`;
  if (origin === "array") return `must have ${side} ${limit} entries`;
  return `must be ${side} ${limit}`;
}

const article = (type: string) =>
  type === "int"
    ? "a whole number"
    : `${/^[aeiou]/.test(type) ? "an" : "a"} ${type === "record" ? "map" : type}`;

function pathOf(path: readonly PropertyKey[]): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else text += text === "" ? String(part) : `.${String(part)}`;
  }
  return text;
}
