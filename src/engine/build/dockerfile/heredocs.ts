/**
 * Heredocs of RUN, COPY and ADD: `<<NAME` in the instruction's line, the texts on the lines that follow, each up to a line that is its name
 * (docs.docker.com/reference/dockerfile, "Here-Documents"). They are read here and not taken from `dockerfile-ast`, which glues the
 * end of an empty one to the command, and takes the next instruction for a text when a name is missing. Where it and we differ on where an
 * instruction ends, the instruction is refused.
 */

import { continues, isLeftOut, LogicalText } from "./logical-text.ts";
import { type Position, unsupported, wrong } from "./position.ts";

export interface Heredoc {
  name: string;
  /** Ends in a line end unless it is empty; tabs at the beginnings of lines are gone where `<<-` asks for it. */
  contents: string;
  /** As it stands in the Dockerfile, with its last line. */
  written: string;
  /** Variables in it are left alone. */
  quoted: boolean;
  /** Of its first line. */
  at: Position;
}

/** As moby/buildkit, frontend/dockerfile/parser: a word of its own, with the name right behind the sign. */
const MARK = /^<<(-?)(["']?)([A-Za-z0-9_.][A-Za-z0-9_.-]*)\2$/;

export function isHeredocMark(word: string): boolean {
  return MARK.test(word);
}

export interface SplitArguments {
  /** The instruction's line itself. */
  line: LogicalText;
  heredocs: Heredoc[];
}

/** @param raw the arguments with all that belongs to the instruction; errors with the place */
export function splitHeredocs(raw: string, start: Position, escapeChar: string): SplitArguments {
  const lines = raw.split("\n");
  let next = 1;
  if (continues(lines[0]!, escapeChar)) {
    while (next < lines.length && (isLeftOut(lines[next]!) || continues(lines[next]!, escapeChar))) next++;
    next = Math.min(next + 1, lines.length);
  }
  const line = LogicalText.of(lines.slice(0, next).join("\n"), start, escapeChar);
  const heredocs: Heredoc[] = [];
  for (const word of line.quotedWords(escapeChar)) {
    const [, dash, quote, name] = MARK.exec(word.text) ?? [];
    if (name === undefined) continue;
    const first = next;
    const contents: string[] = [];
    const strip = (text: string) => (dash === "-" ? text.replace(/^\t+/, "") : text);
    while (next < lines.length && strip(lines[next]!) !== name) contents.push(strip(lines[next++]!));
    if (next === lines.length) throw wrong(word.at, `the heredoc ${name} has no end: a line ${name}`);
    next++;
    heredocs.push({
      name,
      contents: contents.map((text) => `${text}\n`).join(""),
      written: `${lines.slice(first, next).join("\n")}\n`,
      quoted: quote !== "",
      at: { line: start.line + first, column: 1 },
    });
  }
  if (lines.slice(next).some((rest) => rest.trim() !== "")) {
    throw unsupported(
      line.at(line.text.search(/\S/)),
      "it cannot be told where this instruction ends",
      "Write the name of a heredoc right behind the sign, as <<EOF; no other word may begin with <<.",
    );
  }
  return { line, heredocs };
}
