import { SandboxError } from "../contract/errors.ts";

/** Questions to whoever sits at the terminal. They go to stderr: stdout is for results. */

/** More is no answer. */
const MAX_ANSWER = 64 * 1024;

const END_OF_TEXT = "\x03"; // Ctrl-C
const END_OF_TRANSMISSION = "\x04"; // Ctrl-D
const KILL_LINE = "\x15"; // Ctrl-U

/** Whether there is somebody to ask. */
export function canAsk(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}

/** Asks for a line, which the terminal shows and edits as it is typed. */
export async function ask(question: string): Promise<string> {
  process.stderr.write(question);
  return readLine();
}

/** Asks a question that only `y` or `yes` agrees to. */
export async function confirm(question: string): Promise<boolean> {
  return /^y(es)?$/i.test((await ask(`${question} [y/N] `)).trim());
}

/** Asks for a line that is not shown. */
export async function askSecret(question: string): Promise<string> {
  process.stderr.write(question);
  process.stdin.setRawMode(true);
  try {
    return await readLine();
  } finally {
    process.stdin.setRawMode(false);
    process.stderr.write("\n");
  }
}

/** Reads up to a line's end. In raw mode the keys that the terminal would have acted on come here, and are acted on. */
async function readLine(): Promise<string> {
  const { stdin } = process;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let line = "";
  const onData = (text: string) => {
    for (const character of text) {
      if (character === "\r" || character === "\n") return resolve(line);
      if (character === END_OF_TEXT) return reject(noAnswer());
      if (character === END_OF_TRANSMISSION) return line === "" ? reject(noAnswer()) : resolve(line);
      if (character === KILL_LINE) line = "";
      else if (character === "\x7f" || character === "\b") line = [...line].slice(0, -1).join("");
      else if (line.length < MAX_ANSWER) line += character;
    }
  };
  const onEnd = () => reject(noAnswer());
  stdin.setEncoding("utf8").on("data", onData).once("end", onEnd).resume();
  try {
    return await promise;
  } finally {
    stdin.off("data", onData).off("end", onEnd).pause();
  }
}

function noAnswer(): SandboxError {
  return new SandboxError("cancelled", "there was no answer");
}
