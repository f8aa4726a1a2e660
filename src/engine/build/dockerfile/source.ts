import type { Copy, Flag, Instruction as Node, Run } from "dockerfile-ast";
import { type Flags, flagsOf } from "./flags.ts";
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
  heredocs: { name: string; contents: string; quoted: boolean; stripTabs: boolean; at: Position }[];
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
  const heredocs =
    keyword === "RUN" || keyword === "COPY" || keyword === "ADD" ? (node as Run | Copy).getHeredocs() : [];
  const firstBody = heredocs[0]?.getContentRange() ?? undefined;
  const line = firstBody === undefined ? raw : text.slice(offset(before), offset(firstBody.start));
  const words = LogicalText.of(line.replace(/\n$/, ""), positionOf(before), escapeChar);
  const head = LogicalText.of(text.slice(offset(range.start), offset(before)), at, escapeChar).text;
  const bodies = firstBody === undefined ? "" : text.slice(offset(firstBody.start), end);
  return {
    keyword,
    at,
    source: shown(head, words.text, bodies),
    flags: flagsOf(flags, at),
    arguments: words,
    heredocs: heredocs.map((heredoc) => {
      const content = heredoc.getContentRange();
      const start = heredoc.getStartRange();
      const mark = text.slice(offset(start.start), offsets[start.start.line + 1] ?? text.length);
      const [, dash, quote] = /^<<(-?)(["']?)/.exec(mark) ?? [];
      const contents = content === null ? "" : text.slice(offset(content.start), offset(content.end));
      return {
        name: heredoc.getName(),
        contents: contents === "" || contents.endsWith("\n") ? contents : `${contents}\n`,
        quoted: quote !== "",
        stripTabs: dash === "-",
        at: positionOf(content?.start ?? start.start),
      };
    }),
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
