import type { Flag, Instruction as Node } from "dockerfile-ast";
import { type Flags, flagsOf } from "./flags.ts";
import { type Heredoc, splitHeredocs } from "./heredocs.ts";
import { LogicalText } from "./logical-text.ts";
import type { Position } from "./position.ts";

/** An instruction, on its way. */
export interface Source {
  keyword: string;
  at: Position;
  /** In one line, for history and progress. */
  source: string;
  flags: Flags;
  arguments: LogicalText;
  heredocs: Heredoc[];
  escapeChar: string;
}

/** What stands where. `offsets`: of the lines of `text`. */
export function sourceOf(node: Node, text: string, offsets: readonly number[], escapeChar: string): Source {
  const keyword = node.getKeyword();
  const range = node.getRange();
  const at = positionOf(range.start);
  const offset = ({ line, character }: { line: number; character: number }) => offsets[line]! + character;
  const end = offset(range.end);
  const flags = hasFlags(node) ? node.getFlags() : [];
  // The arguments begin behind the last flag, or behind the keyword.
  const before = flags.at(-1)?.getRange().end ?? node.getInstructionRange().end;
  const raw = text.slice(offset(before), end);
  const hasHeredocs = keyword === "RUN" || keyword === "COPY" || keyword === "ADD";
  const { line, heredocs } = hasHeredocs
    ? splitHeredocs(raw, positionOf(before), escapeChar)
    : { line: LogicalText.of(raw, positionOf(before), escapeChar), heredocs: [] };
  const head = LogicalText.of(text.slice(offset(range.start), offset(before)), at, escapeChar).text;
  return {
    keyword,
    at,
    source: shown(head, line.text, heredocs.map(({ written }) => written).join("")),
    flags: flagsOf(flags, at),
    arguments: line,
    heredocs,
    escapeChar,
  };
}

function hasFlags(node: Node): node is Node & { getFlags(): Flag[] } {
  return "getFlags" in node;
}

export const positionOf = ({ line, character }: { line: number; character: number }): Position => ({
  line: line + 1,
  column: character + 1,
});

export function lineOffsets(text: string): number[] {
  const offsets = [0];
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) offsets.push(at + 1);
  return offsets;
}

/** One line, as history has it. */
function shown(head: string, words: string, bodies: string): string {
  return `${head}${words.trimEnd()}\n${bodies}`
    .replace(/\s*\n\s*/g, " ; ")
    .replace(/( ; )+$/, "")
    .trim();
}
