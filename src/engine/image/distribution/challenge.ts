/**
 * What a registry asks for when it says 401: the header WWW-Authenticate (RFC 9110, section 11.6.1), which may hold several
 * challenges. Bounds: 8 KiB, 16 challenges of 16 parameters each; what goes beyond, or is malformed, is not looked at.
 */

export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  scheme: string;
  /** By names in lower case. */
  parameters: ReadonlyMap<string, string>;
}

const MAX_CHARS = 8192;
const MAX_CHALLENGES = 16;
const MAX_PARAMETERS = 16;

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const BLANKS = /[ \t]*/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;

export function parseChallenges(header: string | readonly string[] | undefined): Challenge[] {
  const challenges: Challenge[] = [];
  for (const line of typeof header === "string" ? [header] : (header ?? [])) {
    parseLine(line.slice(0, MAX_CHARS), challenges);
  }
  return challenges.slice(0, MAX_CHALLENGES);
}

function parseLine(text: string, challenges: Challenge[]): void {
  let at = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match === null) return undefined;
    at = pattern.lastIndex;
    return match[1] ?? match[0];
  };
  let parameters: Map<string, string> | undefined;
  while (at < text.length && challenges.length < MAX_CHALLENGES) {
    take(BLANKS);
    if (text[at] === ",") {
      at++;
      continue;
    }
    const word = take(TOKEN);
    if (word === undefined) return;
    take(BLANKS);
    if (text[at] !== "=" || parameters === undefined) {
      parameters = new Map();
      challenges.push({ scheme: word.toLowerCase(), parameters });
      continue;
    }
    at++;
    take(BLANKS);
    const quoted = take(QUOTED);
    const value = quoted === undefined ? take(TOKEN) : quoted.replace(/\\(.)/g, "$1");
    if (value === undefined) return;
    if (parameters.size < MAX_PARAMETERS) parameters.set(word.toLowerCase(), value);
  }
}
