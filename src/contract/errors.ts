/**
 * The one error class of Microsandbox.
 *
 * Users match on `code`; the message says what happened to what, the hint says what to do next. The same
 * four fields travel over HTTP and come out of every SDK. Errors are made where the facts are known and are
 * not re-worded on the way up.
 */

/** The closed set of error codes. Adding one is a change of the public contract. */
export const ERROR_CODES = [
  "invalid_argument",
  "not_found",
  "already_exists",
  "invalid_state",
  "permission_denied",
  "unauthenticated",
  "resource_exhausted",
  "timeout",
  "cancelled",
  "unavailable",
  "unsupported",
  "internal",
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** What an error carries beside its code and message. */
export interface ErrorOptions {
  /** What to do next, as a sentence or a command. */
  hint?: string | undefined;
  /** Facts for programs: plain JSON values only. */
  details?: Record<string, unknown> | undefined;
  cause?: unknown;
}

/** The form of an error on the wire. */
export interface ErrorBody {
  code: ErrorCode;
  message: string;
  hint?: string | undefined;
  details?: Record<string, unknown> | undefined;
}

// Two copies of this package may live in one program (an SDK inside a tool inside an app): `instanceof` must
// hold across them, so it looks for this brand and not for the constructor.
const brand = Symbol.for("microsandbox.SandboxError");

export class SandboxError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Record<string, unknown> | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "SandboxError";
    this.code = code;
    this.hint = options.hint;
    this.details = options.details;
    Object.defineProperty(this, brand, { value: true });
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    // Classes that extend this one inherit this method, and are told by their own prototype.
    // biome-ignore lint/complexity/noThisInStatic: `this` is the class on the right of instanceof, this one or a derived one.
    if (this !== SandboxError) return Function.prototype[Symbol.hasInstance].call(this, value);
    return typeof value === "object" && value !== null && brand in value;
  }

  /** The error as it travels; the cause stays at home, it may name paths of the host. */
  toBody(): ErrorBody {
    return {
      code: this.code,
      message: this.message,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      ...(this.details === undefined ? {} : { details: this.details }),
    };
  }

  /** Makes an error of a body that came over the wire; an unknown code becomes `internal`. */
  static fromBody(body: Partial<ErrorBody>): SandboxError {
    const known = (ERROR_CODES as readonly string[]).includes(body.code ?? "");
    return new SandboxError(
      known ? (body.code as ErrorCode) : "internal",
      body.message ?? "the daemon sent an error without a message",
      { hint: body.hint, details: body.details },
    );
  }

  /** `value` as it is if it is ours, else as `internal` with its message. */
  static from(value: unknown): SandboxError {
    if (value instanceof SandboxError) return value;
    const message = value instanceof Error ? value.message : String(value);
    return new SandboxError("internal", message, { cause: value });
  }
}
