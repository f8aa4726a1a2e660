import { PassThrough, type Readable } from "node:stream";
import { SandboxError } from "../contract/errors.ts";
import type { ApiRequest, Connection } from "./connection.ts";
import { cancelled } from "./deadline.ts";

const BUFFER_BYTES = 256 * 1024;

/** Asks for a tar. The stream fails if the daemon breaks it off; destroying it ends the request. */
export async function downloadTar(connection: Connection, request: ApiRequest): Promise<Readable> {
  const response = await connection.stream(request);
  const output = new PassThrough({ highWaterMark: BUFFER_BYTES });
  // Whoever reads it hears of a failure, then if not now. One between two awaits of the caller must not end the program.
  output.on("error", () => {});
  response.once("error", (cause) => {
    output.destroy(
      request.signal?.aborted
        ? cancelled(request.signal, cause)
        : new SandboxError("unavailable", `could not ${request.purpose}: the daemon broke off half-way`, {
            hint: `read ${connection.home}/daemon.log`,
            cause,
          }),
    );
  });
  response.pipe(output);
  output.once("close", () => response.destroy());
  return output;
}
