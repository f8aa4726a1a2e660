import type { TcpErrorCode } from "./tcp-error.ts";

/** Who uses the connection. */
export interface EndpointUser {
  opened(): void;
  /** There may be bytes to read, or the end of them. */
  readable(): void;
  acknowledged(): void;
  /** Everything written and our FIN are acknowledged. */
  writeEnded(): void;
  /** It is over. Without a code: as it should be. */
  closed(code: TcpErrorCode | undefined): void;
}

/** After the user has left. What it was must not be held by an end that stays in TIME-WAIT: a stream with all that hangs on it. */
export const NOBODY: EndpointUser = {
  opened() {},
  readable() {},
  acknowledged() {},
  writeEnded() {},
  closed() {},
};
