/** Patterns as Go's `filepath.Match` has them, which COPY uses: `*` and `?` stop at slashes, `[a-z]` and `[^a-z]`, `\` escapes. */

const SPECIAL = /[*?[\\]/;

export function isPattern(path: string): boolean {
  return SPECIAL.test(path);
}

/** Matches one name, between two slashes. @returns undefined for a pattern that is malformed */
export function nameMatcher(pattern: string): ((name: string) => boolean) | undefined {
  /** Regular expressions of what stands between the stars. */
  const parts = [""];
  const add = (source: string) => parts.push(parts.pop() + source);
  const characters = [...pattern];
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i]!;
    if (character === "*") parts.push("");
    else if (character === "?") add("[^]");
    else if (character === "[") {
      const set = readSet(characters, i);
      if (set === undefined) return undefined;
      add(set.source);
      i = set.end;
    } else if (character === "\\") {
      if (++i === characters.length) return undefined;
      add(literal(characters[i]!));
    } else add(literal(character));
  }
  const matchers = parts.map((part) => new RegExp(`^(?:${part})`, "u"));
  return (name) => matchParts(matchers, name);
}

/** Stars are tried one after the other, the shortest first and never taken back further than one star: linear, whatever the pattern. */
function matchParts(parts: readonly RegExp[], name: string): boolean {
  const [first, ...rest] = parts;
  let at = first!.exec(name)?.[0].length ?? -1;
  if (at < 0) return false;
  if (rest.length === 0) return at === name.length;
  for (const [i, part] of rest.entries()) {
    const isLast = i === rest.length - 1;
    let found = -1;
    for (let from = at; from <= name.length && found < 0; from++) {
      const match = part.exec(name.slice(from));
      if (match !== null && (!isLast || from + match[0].length === name.length))
        found = from + match[0].length;
    }
    if (found < 0) return false;
    at = found;
  }
  return true;
}

const literal = (character: string) => character.replace(/[.*+?^${}()|[\]\\/]/, "\\$&");

function readSet(pattern: readonly string[], start: number): { source: string; end: number } | undefined {
  let i = start + 1;
  const negated = pattern[i] === "^";
  if (negated) i++;
  let body = "";
  const take = (): string | undefined => {
    if (pattern[i] === "\\") i++;
    const character = pattern[i++];
    return character === undefined
      ? undefined
      : `\\u{${character.codePointAt(0)!.toString(16).padStart(6, "0")}}`;
  };
  while (i < pattern.length && (pattern[i] !== "]" || body === "")) {
    if (pattern[i] === "]" || pattern[i] === "-") return undefined;
    const low = take();
    if (low === undefined) return undefined;
    if (pattern[i] !== "-") {
      body += low;
      continue;
    }
    i++;
    const high = pattern[i] === "]" ? undefined : take();
    if (high === undefined) return undefined;
    if (low <= high) body += `${low}-${high}`;
  }
  if (i >= pattern.length) return undefined;
  return { source: `[${negated ? "^" : ""}${body}]`, end: i };
}
