/**
 * One pattern of an ignore file, in the dialect of github.com/moby/patternmatcher: Go's `filepath.Match` and `**`.
 *
 * A pattern is run as a small automaton, all its states side by side, and never backtracks: the time is at most the
 * pattern's length times the path's. A regular expression made of many `**` would take for ever on the right path.
 */

/** What is wrong with a pattern, for whoever knows the line that it stands in. */
export class BadPattern extends Error {}

type Token =
  | { kind: "char"; char: string }
  | { kind: "class"; negated: boolean; ranges: [low: string, high: string][] }
  | { kind: "one" } // `?`: anything but a slash
  | { kind: "name" } // `*`: any number of anything but slashes
  | { kind: "all" } // `**` at an end: anything
  | { kind: "folders" } // `**` within: nothing, or anything up to a slash; `within` follows it
  | { kind: "within" };

export class IgnorePattern {
  readonly #tokens: readonly Token[];
  /** The pattern itself, where it means nothing but itself: most do. */
  readonly #literal: string | undefined;
  /** Per state the step in which it was last entered, so that none is entered twice. */
  readonly #entered: Uint32Array;
  #step = 0;

  /** @param pattern cleaned: no leading or trailing slash, no `.` or empty components; throws BadPattern */
  constructor(pattern: string) {
    this.#tokens = tokensOf(pattern);
    const chars = this.#tokens.map((token) => (token.kind === "char" ? token.char : undefined));
    this.#literal = chars.includes(undefined) ? undefined : chars.join("");
    this.#entered = new Uint32Array(this.#tokens.length + 1);
  }

  /** Whether it matches the path or a folder above it. */
  matches(path: string): boolean {
    const literal = this.#literal;
    if (literal !== undefined) {
      return path.startsWith(literal) && (path.length === literal.length || path[literal.length] === "/");
    }
    return this.#run(path, true) === "matched";
  }

  /** Whether it can match something below the folder. */
  reachesBelow(folder: string): boolean {
    const literal = this.#literal;
    if (literal !== undefined) return literal.startsWith(`${folder}/`);
    return this.#run(`${folder}/`, false) === "alive";
  }

  /** @param parents whether a match of a folder above is a match */
  #run(path: string, parents: boolean): "matched" | "alive" | "dead" {
    const end = this.#tokens.length;
    let states = this.#enter([], 0, ++this.#step);
    for (const char of path) {
      if (parents && char === "/" && states.includes(end)) return "matched";
      const next: number[] = [];
      const step = ++this.#step;
      for (const state of states) {
        const token = this.#tokens[state];
        if (token === undefined) continue;
        if (token.kind === "within") {
          this.#enter(next, state, step);
          if (char === "/") this.#enter(next, state + 1, step);
        } else if (accepts(token, char)) {
          this.#enter(next, token.kind === "name" || token.kind === "all" ? state : state + 1, step);
        }
      }
      if (next.length === 0) return "dead";
      states = next;
    }
    if (!parents) return "alive";
    return states.includes(end) ? "matched" : "dead";
  }

  /** Adds a state, and those that are reached from it without a character. */
  #enter(states: number[], state: number, step: number): number[] {
    for (let at = state; this.#entered[at] !== step; at++) {
      this.#entered[at] = step;
      states.push(at);
      const kind = this.#tokens[at]?.kind;
      if (kind === "folders") this.#enter(states, at + 2, step);
      else if (kind !== "name" && kind !== "all") break;
    }
    return states;
  }
}

function accepts(token: Token, char: string): boolean {
  switch (token.kind) {
    case "char":
      return token.char === char;
    case "class":
      return token.ranges.some(([low, high]) => low <= char && char <= high) !== token.negated;
    case "all":
      return true;
    case "one":
    case "name":
      return char !== "/";
    default:
      return false;
  }
}

function tokensOf(pattern: string): Token[] {
  const chars = [...pattern];
  const tokens: Token[] = [];
  let at = 0;
  while (at < chars.length) {
    const char = chars[at++]!;
    if (char === "*" && chars[at] === "*") {
      at++;
      const isFirst = at === 2;
      // `**foo` is any path that ends so, as moby has it; with other wildcards behind it is `**/foo…`.
      const isSuffix = isFirst && chars[at] !== "/" && !/[*?[\]\\]/.test(chars.slice(at).join(""));
      if (chars[at] === "/") at++;
      if (at === chars.length || isSuffix) tokens.push({ kind: "all" });
      else tokens.push({ kind: "folders" }, { kind: "within" });
    } else if (char === "*") {
      tokens.push({ kind: "name" });
    } else if (char === "?") {
      tokens.push({ kind: "one" });
    } else if (char === "\\") {
      const escaped = chars[at++];
      if (escaped === undefined) throw new BadPattern("a backslash at the end escapes nothing");
      tokens.push({ kind: "char", char: escaped });
    } else if (char === "[") {
      const negated = chars[at] === "^";
      if (negated) at++;
      const ranges: [string, string][] = [];
      const member = (): string => {
        const next = chars[at++];
        const isEscape = next === "\\";
        const meant = isEscape ? chars[at++] : next;
        if (meant === undefined) throw new BadPattern("'[' is not closed");
        if (!isEscape && (meant === "-" || meant === "]")) {
          throw new BadPattern(`'${meant}' stands at the wrong place between '[' and ']'`);
        }
        return meant;
      };
      while (chars[at] !== "]" || ranges.length === 0) {
        const low = member();
        if (chars[at] !== "-") ranges.push([low, low]);
        else {
          at++;
          ranges.push([low, member()]);
        }
      }
      at++;
      tokens.push({ kind: "class", negated, ranges });
    } else {
      tokens.push({ kind: "char", char });
    }
  }
  return tokens;
}
