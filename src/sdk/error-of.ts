import { type ErrorBody, SandboxError } from "../contract/errors.ts";

/** Makes an error of the body of an answer. */
export function errorOf(text: string, status: number | undefined): SandboxError {
  try {
    return SandboxError.fromBody((JSON.parse(text) as { error: ErrorBody }).error);
  } catch {
    return new SandboxError("internal", `the daemon answered ${status} without saying why`);
  }
}
