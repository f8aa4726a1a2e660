import { ERROR_CODES, SandboxError } from "../../../contract/index.ts";

/**
 * The error of a process of the agent's own, which says "code: message".
 *
 * @param name of the sandbox
 * @param what it was to do, as "read /a"
 */
export function processFailure(name: string, what: string, complaint: string): SandboxError {
  const [, word, message] = /^([a-z_]+): (.*)$/s.exec(complaint) ?? [];
  const code = ERROR_CODES.find((one) => one === word);
  if (code !== undefined && message !== undefined) return new SandboxError(code, message);
  return new SandboxError(
    "internal",
    `could not ${what} in sandbox '${name}': ${complaint || "what did it was ended"}`,
  );
}
