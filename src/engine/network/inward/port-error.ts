import { SandboxError } from "../../../contract/errors.ts";
import type { PublishedPort } from "../../../contract/network.ts";

/** `127.0.0.1:8080/tcp`, for messages. */
export function portText({ bind, host, protocol }: PublishedPort): string {
  return `${bind.includes(":") ? `[${bind}]` : bind}:${host}/${protocol}`;
}

/** Why a port of the host cannot be listened on. */
export function portError(port: PublishedPort, cause: Error & { code?: string }): SandboxError {
  const what = `the port ${portText(port)} of the host`;
  const details = { bind: port.bind, host: port.host, protocol: port.protocol };
  if (cause.code === "EADDRINUSE")
    return new SandboxError("already_exists", `${what} is in use`, {
      hint: "Publish another one, or 0 for any that is free.",
      details,
      cause,
    });
  if (cause.code === "EACCES" || cause.code === "EPERM")
    return new SandboxError("permission_denied", `${what} may not be listened on: ${cause.message}`, {
      hint: "Ports below 1024 are for root: publish one above.",
      details,
      cause,
    });
  if (cause.code === "EADDRNOTAVAIL" || cause.code === "EAFNOSUPPORT")
    return new SandboxError("invalid_argument", `${what}: the host has no address ${port.bind}`, {
      hint: "Name an address of one of the host's interfaces, or leave it out.",
      details,
      cause,
    });
  return new SandboxError("internal", `${what} cannot be listened on: ${cause.message}`, { details, cause });
}
