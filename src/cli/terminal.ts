/**
 * The process's own stdout and stderr: written at the reader's pace, complete at exit, and quiet when the reader has had enough.
 */

/** What shells report for a program that SIGPIPE ended. */
const BROKEN_PIPE = 128 + 13;
/** Our own failure, as `msb run` has it. */
const CANNOT_WRITE = 125;

/** A reader that went away (`msb … | head -1`) ends us without a word; a full disk ends us with one. */
export function watchOutput(): void {
  for (const name of ["stdout", "stderr"] as const) {
    process[name].on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE" || error.code === "ERR_STREAM_DESTROYED") process.exit(BROKEN_PIPE);
      if (name === "stdout") process.stderr.write(`msb: cannot write to stdout: ${error.message}\n`);
      process.exit(CANNOT_WRITE);
    });
  }
}

/** Writes bytes; resolves when more can be taken. */
export function writeTo(name: "stdout" | "stderr", data: Uint8Array | string): Promise<void> | undefined {
  const stream = process[name];
  if (stream.write(data)) return undefined;
  return new Promise((resolve) => stream.once("drain", resolve));
}

/** Writes a line to stdout. */
export function print(line = ""): void {
  process.stdout.write(`${line}\n`);
}

/** Writes a line to stderr. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** Controls of C0 and C1, line separators, and the marks that turn the direction of text around. */
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Text from outside (names, digests, Dockerfile lines, what build steps write) as it may reach a terminal: a control character there
 * could move the cursor, rewrite what was printed or type for the user. It is spelled out, as `\x1b`.
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => {
    const code = character.codePointAt(0)!;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`;
  });
}

/** The same for a message of several lines. */
export function printableLines(text: string): string {
  return text.split("\n").map(printable).join("\n");
}

/** Ends the process, with `process.exitCode`, once everything written has been taken. Idle connections do not delay it. */
export async function exitAfterFlush(): Promise<never> {
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  process.exit();
}

function flushed(stream: NodeJS.WriteStream): Promise<void> | undefined {
  if (stream.writableLength === 0) return undefined;
  return new Promise((resolve) => stream.write("", () => resolve()));
}

/** Whether colours are wanted on a stream: only on a terminal, and not against `NO_COLOR` (no-color.org). */
export function colorful(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== "dumb";
}
