import { SandboxError } from "../../contract/errors.ts";

/**
 * The error that ends a connection because the guest broke the protocol. The guest is hostile: whatever it sends
 * leads to this error at worst, and to nothing outside its own sandbox.
 *
 * @param what a sentence's rest that says what was wrong, without values that the guest chose as text
 */
export function violation(what: string, details?: Record<string, unknown>): SandboxError {
  return new SandboxError("internal", `the guest agent broke the protocol: ${what}`, { details });
}
