import { type FlowAddress, flowText } from "../flow.ts";

export type TcpErrorCode =
  | "ECONNREFUSED"
  | "ECONNRESET"
  | "ECONNABORTED"
  | "ETIMEDOUT"
  | "EAGAIN"
  | "EADDRINUSE";

const SENTENCES: Record<TcpErrorCode, string> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the sandbox reset the connection",
  ECONNABORTED: "the connection was given up on this side",
  ETIMEDOUT: "the sandbox does not answer",
  EAGAIN: "the sandbox has as many connections as it may have",
  EADDRINUSE: "there is such a connection already",
};

/** Why a connection ended, with the code that a socket of the system would have given. */
export class TcpError extends Error {
  override name = "TcpError";
  readonly code: TcpErrorCode;

  constructor(code: TcpErrorCode, flow: FlowAddress) {
    super(`${code} ${flowText(flow)}: ${SENTENCES[code]}`);
    this.code = code;
  }
}
