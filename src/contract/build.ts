/**
 * How a client and a daemon know each other's code. After an upgrade the old daemon may still run; it hands over as soon as
 * it is idle.
 */

export const VERSION = "0.1.0";

/** Header of requests and responses that carries the sender's build. */
export const BUILD_HEADER = "x-msb-build";

/** `details.reason` of the `unavailable` error of a daemon that is leaving: ask again, another one takes over. */
export const LEAVING = "daemon_leaving";

/** @param file the daemon's program, which a build or an installation writes anew */
export const buildId = (file: { mtimeMs: number; size: number }): string =>
  `${VERSION}-${Math.round(file.mtimeMs).toString(36)}-${file.size.toString(36)}`;
