import { SandboxError } from "../contract/errors.ts";
import { note, printableLines } from "./terminal.ts";

/** Fields of the API, and the flags that set them: people know what they typed. */
const FLAG_OF_FIELD: Record<string, string> = {
  name: "--name",
  cpus: "--cpus",
  memoryMiB: "--memory (in MiB)",
  diskMiB: "--disk (in MiB)",
  workdir: "--workdir",
  user: "--user",
  shell: "--shell",
  timeoutMs: "--timeout",
  image: "IMAGE",
  count: "--count",
  volumes: "--volumes",
  onIdle: "--on-idle",
  pull: "--pull",
  platform: "--platform",
  reference: "NAME",
  digest: "--digest",
  tags: "--tag",
  target: "--target",
  buildArgs: "--build-arg",
  labels: "--label",
  argv: "COMMAND",
};

/** Prints an error the way all commands do. */
export function reportFailure(thrown: unknown, { json = false } = {}): void {
  const error = asSandboxError(thrown);
  if (json) {
    note(JSON.stringify({ error: error.toBody() }));
    return;
  }
  note(printableLines(`msb: ${inWordsOfFlags(error)}`));
  if (error.hint !== undefined) note(printableLines(`hint: ${error.hint}`));
  if (error.code === "internal" && process.env.MSB_DEBUG)
    note(String((error.cause as Error)?.stack ?? error.stack));
}

/** Exit code for an error: the daemon's, when the command could not be run (127, 126), else the given one. */
export function exitCodeOf(thrown: unknown, otherwise: number): number {
  const code = thrown instanceof SandboxError ? thrown.details?.exitCode : undefined;
  return typeof code === "number" && Number.isInteger(code) ? code : otherwise;
}

function asSandboxError(thrown: unknown): SandboxError {
  const { code, path } = (thrown ?? {}) as NodeJS.ErrnoException;
  if (!(thrown instanceof SandboxError) && path !== undefined) {
    if (code === "ENOENT") return new SandboxError("not_found", `there is no file ${path}`);
    if (code === "EACCES") return new SandboxError("permission_denied", `cannot open ${path}`);
  }
  return SandboxError.from(thrown);
}

function inWordsOfFlags(error: SandboxError): string {
  if (error.code !== "invalid_argument" || !Array.isArray(error.details?.issues)) return error.message;
  const issues = error.details.issues as { path: string; message: string }[];
  return issues
    .map(({ path, message }) => {
      const field = path.replace(/^(sandbox|exec|changes)\./, "").replace(/\[\d+\]$/, "");
      return `${FLAG_OF_FIELD[field] ?? field}: ${message}`;
    })
    .join("\nmsb: ");
}
