import { type ExecSpec, SandboxError } from "../../contract/index.ts";
import type { ProcessSpec } from "../guest/index.ts";
import type { ImageConfig } from "../image/index.ts";
import type { StartSpec } from "./record.ts";

/** Where commands are looked for if neither the image nor anybody else says; Docker's default. */
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** What a terminal is that does not say; as Docker. */
const DEFAULT_TERM = "xterm";

/**
 * The command that a sandbox runs, combined as `docker run` does: `argv` replaces the image's command behind the
 * entrypoint; an entrypoint of the spec also does away with the image's command.
 * @throws `invalid_argument` if neither the image nor the caller names a command
 */
export function combineCommand(spec: StartSpec, image: ImageConfig, argv: string[] = []): string[] {
  const entrypoint = spec.entrypoint ?? image.entrypoint;
  const inherited = spec.command ?? (spec.entrypoint === undefined ? image.cmd : []);
  const command = [...entrypoint, ...(argv.length > 0 ? argv : inherited)];
  if (command.length > 0) return command;
  throw new SandboxError("invalid_argument", `image '${spec.image}' has no command of its own`, {
    hint: "Name one, e.g.: msb run IMAGE -- /bin/sh -c 'echo hello'",
  });
}

/** A process as the guest is asked to start it: image, spec and exec on top of each other. */
export function processSpec(
  spec: StartSpec,
  image: ImageConfig,
  exec: ExecSpec,
  stdin: boolean,
): ProcessSpec {
  const fromImage = Object.fromEntries(image.env.map((entry) => split(entry)));
  const { tty } = exec;
  const pty = tty && { rows: tty.rows, cols: tty.cols, term: tty.term ?? DEFAULT_TERM };
  // The terminal that is there counts for more than the one that an image was made for.
  const env = { PATH: DEFAULT_PATH, ...fromImage, ...spec.env, ...(pty && { TERM: pty.term }), ...exec.env };
  return {
    argv: exec.argv,
    env,
    cwd: exec.workdir ?? spec.workdir ?? image.workdir,
    user: exec.user ?? spec.user ?? image.user,
    stdin,
    rlimits: exec.rlimits,
    // As Docker: a working directory of the image or the sandbox is made; one that a single command asks for must be there.
    createCwd: exec.workdir === undefined,
    pty,
  };
}

function split(entry: string): [string, string] {
  const at = entry.indexOf("=");
  return [entry.slice(0, at), entry.slice(at + 1)];
}
