import type { Position } from "./position.ts";

/**
 * The arguments of an instruction as one text: lines that end in the escape character are joined, comments and empty lines between
 * them are gone (docs.docker.com/reference/dockerfile, "Format"). Each character still knows where it stood.
 */
export class LogicalText {
  readonly text: string;
  readonly #positions: readonly Position[];

  private constructor(text: string, positions: readonly Position[]) {
    this.text = text;
    this.#positions = positions;
  }

  /** @param raw from `start` on to the instruction's end */
  static of(raw: string, start: Position, escapeChar: string): LogicalText {
    const characters: string[] = [];
    const positions: Position[] = [];
    const lines = raw.split("\n");
    for (const [i, line] of lines.entries()) {
      if (i > 0 && isLeftOut(line)) continue;
      const content = continues(line, escapeChar)
        ? line.replace(/[\\`][ \t]*\r?$/, "")
        : line.replace(/\r$/, "");
      for (let at = 0; at < content.length; at++) {
        characters.push(content[at]!);
        positions.push({ line: start.line + i, column: (i === 0 ? start.column : 1) + at });
      }
    }
    return new LogicalText(characters.join(""), positions.length > 0 ? positions : [start]);
  }

  /** Where a character of the text stands; what is behind the end, at the last one. */
  at(index: number): Position {
    return this.#positions[Math.min(index, this.#positions.length - 1)]!;
  }

  /** The words between blanks, quotes and all. */
  words(): Word[] {
    return [...this.text.matchAll(/\S+/g)].map((match) => ({ text: match[0], at: this.at(match.index) }));
  }

  /** As `words`, but blanks within quotes or behind the escape character do not end a word: for `ENV A="b c" D=e\ f`. */
  quotedWords(escapeChar: string): Word[] {
    const words: Word[] = [];
    let start = -1;
    let quote = "";
    for (let i = 0; i <= this.text.length; i++) {
      const character = this.text[i];
      const ends = character === undefined || (quote === "" && /\s/.test(character));
      if (ends) {
        if (start >= 0) words.push({ text: this.text.slice(start, i), at: this.at(start) });
        start = -1;
        continue;
      }
      if (start < 0) start = i;
      if (character === escapeChar && quote !== "'") i++;
      else if (quote === "" && (character === '"' || character === "'")) quote = character;
      else if (character === quote) quote = "";
    }
    return words;
  }

  /** The strings of a JSON list; undefined if the text is none. Docker then takes it for a plain one, too. */
  list(): Word[] | undefined {
    const trimmed = this.text.trim();
    if (!trimmed.startsWith("[")) return undefined;
    let parsed: unknown;
    try {
      parsed = JSON.parse(trimmed);
    } catch {
      return undefined;
    }
    if (!Array.isArray(parsed) || !parsed.every((one) => typeof one === "string")) return undefined;
    return parsed.map((text) => ({ text, at: this.at(this.text.indexOf("[")) }));
  }
}

/** Whether the next line belongs to this one. */
export function continues(line: string, escapeChar: string): boolean {
  return (escapeChar === "`" ? /`[ \t]*\r?$/ : /\\[ \t]*\r?$/).test(line);
}

/** A comment or an empty line between lines that belong together. */
export function isLeftOut(line: string): boolean {
  return /^[ \t]*(#|\r?$)/.test(line);
}

export interface Word {
  text: string;
  at: Position;
}
