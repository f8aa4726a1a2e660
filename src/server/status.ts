import { type ErrorBody, type ErrorCode, SandboxError } from "../contract/index.ts";

/** The one place where error codes become HTTP statuses. */
export const STATUS_OF_CODE = {
  invalid_argument: 400,
  unauthenticated: 401,
  permission_denied: 403,
  not_found: 404,
  already_exists: 409,
  invalid_state: 409,
  resource_exhausted: 429,
  // nginx's "client closed request": nobody is there to read it, but it shows in logs.
  cancelled: 499,
  internal: 500,
  unsupported: 501,
  unavailable: 503,
  timeout: 504,
} as const satisfies Record<ErrorCode, number>;

export interface ErrorAnswer {
  status: number;
  body: { error: ErrorBody };
}

export function errorAnswer(thrown: unknown): ErrorAnswer {
  const error = SandboxError.from(thrown);
  return { status: STATUS_OF_CODE[error.code], body: { error: error.toBody() } };
}

/** What only the log is told: a failure that no user can act on, with the place it came from. */
export function logIfInternal(thrown: unknown, doing: string, log: (message: string) => void): void {
  const error = SandboxError.from(thrown);
  if (error.code !== "internal") return;
  const origin = error.cause instanceof Error ? error.cause : error;
  log(`internal error: ${doing}: ${origin.stack ?? origin.message}`);
}

export function errorResponse(thrown: unknown): Response {
  const { status, body } = errorAnswer(thrown);
  return Response.json(body, { status });
}
