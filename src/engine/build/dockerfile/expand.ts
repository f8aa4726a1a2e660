/**
 * Puts variables into a word, and takes quotes and escapes out of it, as Docker does (moby/buildkit, frontend/dockerfile/shell/lex.go).
 * It is not a shell: no commands, no globs, no splitting. Nothing is expanded twice, so it always ends.
 */

import type { Word } from "./logical-text.ts";
import { type Position, unsupported, wrong } from "./position.ts";

export interface ExpandOptions {
  /** `\` or `` ` ``. */
  escapeChar: string;
  /** The value of a variable; undefined if it is not set. */
  lookup: (name: string) => string | undefined;
  /** Quotes and escapes stay as they are: for the contents of files. */
  raw?: boolean;
}

const NAME = /[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-]/y;
const MAX_DEPTH = 32;

/** Errors: `invalid_argument`, `unsupported` (a modifier), with line and column. */
export function expand(word: Word, options: ExpandOptions): string {
  return new Expansion(word, options).all();
}

class Expansion {
  readonly #text: string;
  readonly #start: Position;
  readonly #options: ExpandOptions;
  #at = 0;
  #depth = 0;

  constructor(word: Word, options: ExpandOptions) {
    this.#text = word.text;
    this.#start = word.at;
    this.#options = options;
  }

  all(): string {
    return this.#until("");
  }

  /** Up to a character, which is taken too; "" is the end. */
  #until(end: "" | "}"): string {
    const { escapeChar, raw } = this.#options;
    let result = "";
    while (this.#at < this.#text.length) {
      const character = this.#text[this.#at]!;
      if (character === end) {
        this.#at++;
        return result;
      }
      if (character === "$") result += this.#variable();
      else if (character === escapeChar && !raw) {
        this.#at++;
        if (this.#at < this.#text.length) result += this.#text[this.#at++];
      } else if (character === escapeChar && raw && this.#text[this.#at + 1] === "$") {
        this.#at += 2;
        result += "$";
      } else if (character === "'" && !raw) result += this.#singleQuoted();
      else if (character === '"' && !raw) result += this.#doubleQuoted();
      else {
        result += character;
        this.#at++;
      }
    }
    if (end !== "") throw this.#wrong("a variable's brace is not closed");
    return result;
  }

  #singleQuoted(): string {
    const end = this.#text.indexOf("'", this.#at + 1);
    if (end === -1) throw this.#wrong("a single quote is not closed");
    const result = this.#text.slice(this.#at + 1, end);
    this.#at = end + 1;
    return result;
  }

  #doubleQuoted(): string {
    const { escapeChar } = this.#options;
    let result = "";
    this.#at++;
    while (this.#at < this.#text.length) {
      const character = this.#text[this.#at]!;
      if (character === '"') {
        this.#at++;
        return result;
      }
      if (character === "$") result += this.#variable();
      else {
        const next = this.#text[this.#at + 1];
        // Within quotes only these are escaped; before others the character stands for itself.
        if (character === escapeChar && (next === '"' || next === "$" || next === escapeChar)) this.#at++;
        result += this.#text[this.#at++];
      }
    }
    throw this.#wrong("a double quote is not closed");
  }

  #variable(): string {
    const start = this.#at++;
    if (this.#text[this.#at] !== "{") {
      const name = this.#name();
      return name === undefined ? "$" : (this.#options.lookup(name) ?? "");
    }
    if (++this.#depth > MAX_DEPTH) throw this.#wrong("variables stand within each other too deeply");
    this.#at++;
    const name = this.#name();
    if (name === undefined) throw this.#wrong("a variable has no name", start);
    const value = this.#options.lookup(name);
    const result = this.#modified(name, value);
    this.#depth--;
    return result;
  }

  #modified(name: string, value: string | undefined): string {
    if (this.#text[this.#at] === "}") {
      this.#at++;
      return value ?? "";
    }
    const colon = this.#text[this.#at] === ":";
    if (colon) this.#at++;
    const modifier = this.#text[this.#at];
    const modifierAt = this.#at;
    this.#at++;
    const isSet = colon ? value !== undefined && value !== "" : value !== undefined;
    if (modifier === "-" || modifier === "+" || modifier === "?") {
      const word = this.#until("}");
      if (modifier === "-") return isSet ? value! : word;
      if (modifier === "+") return isSet ? word : "";
      if (!isSet) throw this.#wrong(`${name}: ${word || "is not set"}`, modifierAt);
      return value!;
    }
    if (modifier === undefined) throw this.#wrong("a variable's brace is not closed");
    throw unsupported(
      this.#position(modifierAt),
      `the modifier ${JSON.stringify(modifier)} of a variable is not supported`,
      "There are :-, :+ and :?, also without the colon.",
    );
  }

  #name(): string | undefined {
    NAME.lastIndex = this.#at;
    const match = NAME.exec(this.#text);
    if (match === null) return undefined;
    this.#at = NAME.lastIndex;
    return match[0];
  }

  #wrong(reason: string, at = this.#at) {
    return wrong(this.#position(Math.min(at, this.#text.length)), reason);
  }

  #position(at: number): Position {
    return { line: this.#start.line, column: this.#start.column + at };
  }
}
