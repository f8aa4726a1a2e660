import { SandboxError } from "../../../contract/index.ts";

/** A place in a Dockerfile, both from 1 on. */
export interface Position {
  line: number;
  column: number;
}

/** What is wrong with a Dockerfile, and where. */
export function wrong(at: Position, reason: string, hint?: string): SandboxError {
  return problem("invalid_argument", at, reason, hint);
}

/** What this builder does not do: it says so and never leaves it out. */
export function unsupported(at: Position, reason: string, hint?: string): SandboxError {
  return problem("unsupported", at, reason, hint);
}

function problem(
  code: "invalid_argument" | "unsupported",
  at: Position,
  reason: string,
  hint: string | undefined,
): SandboxError {
  return new SandboxError(code, `Dockerfile, line ${at.line}, column ${at.column}: ${reason}`, {
    hint,
    details: { line: at.line, column: at.column },
  });
}
