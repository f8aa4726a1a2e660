import type { IncomingMessage } from "node:http";
import { BUILD_HEADER, LEAVING, SandboxError } from "../contract/index.ts";

/** What the gate has to know of the daemon. */
export interface GateContext {
  build: string;
  isLeaving(): boolean;
  /** Whether nothing runs and nobody else is being served. */
  isIdle(): boolean;
  leave(reason: string): void;
}

/**
 * Every request and every upgrade passes here before anything looks at it. Access itself is the socket file's mode; tokens, when the
 * API can also be reached otherwise, belong here.
 *
 * @throws SandboxError if the request is not to be served
 */
export function gate(request: IncomingMessage, daemon: GateContext): void {
  const { headers } = request;
  // No browser can open a unix socket, so these headers mean that something forwards web pages to it.
  if (headers.origin !== undefined || headers["sec-fetch-site"] !== undefined) {
    throw new SandboxError("permission_denied", "the daemon does not serve browsers", {
      hint: "a proxy in front of the daemon's socket lets web pages run code on this machine; take it away",
    });
  }
  const clientBuild = headers[BUILD_HEADER];
  if (
    !daemon.isLeaving() &&
    typeof clientBuild === "string" &&
    clientBuild !== daemon.build &&
    daemon.isIdle()
  ) {
    daemon.leave(`a client of build ${clientBuild} came, this is ${daemon.build}`);
  }
  if (daemon.isLeaving()) {
    throw new SandboxError("unavailable", "this daemon is leaving; the next one takes over", {
      details: { reason: LEAVING },
    });
  }
}
