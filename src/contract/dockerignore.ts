import { posix } from "node:path";
import { SandboxError } from "./errors.ts";
import { BadPattern, IgnorePattern } from "./ignore-pattern.ts";

/**
 * What a build's context leaves out: the rules of `.dockerignore` as moby has them (moby/patternmatcher). The last
 * pattern that matches a path, or a folder above it, decides; `!` in front makes an exception.
 *
 * Text from anywhere: at most 1 MiB, 10,000 patterns of 4,096 characters each.
 */
const MAX_TEXT = 1024 * 1024;
const MAX_PATTERNS = 10_000;
const MAX_PATTERN = 4096;

export class IgnoreRules {
  readonly #rules: readonly { pattern: IgnorePattern; exception: boolean }[];

  constructor(rules: readonly { pattern: IgnorePattern; exception: boolean }[]) {
    this.#rules = rules;
  }

  /** @param path of a file or folder, relative to the context: `a/b`, without `./` and without a slash at the end */
  ignores(path: string): boolean {
    let ignored = false;
    for (const { pattern, exception } of this.#rules) {
      // A rule that would change nothing need not be looked at.
      if (exception === ignored && pattern.matches(path)) ignored = !exception;
    }
    return ignored;
  }

  /** Whether an ignored folder has to be walked, since an exception may hold for something below it. */
  mayContainException(folder: string): boolean {
    return this.#rules.some(({ pattern, exception }) => exception && pattern.reachesBelow(folder));
  }
}

/**
 * @param file its name, for errors
 * @throws SandboxError `invalid_argument` with the line
 */
export function parseIgnoreFile(text: string, file = ".dockerignore"): IgnoreRules {
  if (text.length > MAX_TEXT) {
    throw new SandboxError("invalid_argument", `${file} is larger than ${MAX_TEXT} characters`);
  }
  const rules: { pattern: IgnorePattern; exception: boolean }[] = [];
  text
    .replace(/^\uFEFF/, "")
    .split("\n")
    .forEach((line, index) => {
      const wrong = (what: string) =>
        new SandboxError("invalid_argument", `${file}, line ${index + 1}: ${what}`, {
          details: { file, line: index + 1 },
        });
      // A comment begins in the first column; behind spaces the sign is part of a name.
      if (line.startsWith("#") || line.trim() === "") return;
      const exception = line.trim().startsWith("!");
      const written = exception ? line.trim().slice(1).trim() : line.trim();
      if (written === "") throw wrong("'!' alone excepts nothing");
      if (written.length > MAX_PATTERN) throw wrong(`the pattern is longer than ${MAX_PATTERN} characters`);
      if (rules.length === MAX_PATTERNS) throw wrong(`there are more than ${MAX_PATTERNS} patterns`);
      try {
        rules.push({ pattern: new IgnorePattern(cleaned(written)), exception });
      } catch (error) {
        if (error instanceof BadPattern) throw wrong(`the pattern '${written}' is wrong: ${error.message}`);
        throw error;
      }
    });
  return new IgnoreRules(rules);
}

/** As Go's `filepath.Clean`, and relative to the context. */
function cleaned(pattern: string): string {
  const normal = posix.normalize(pattern);
  return normal === "/" ? normal : normal.replace(/^\//, "").replace(/\/$/, "");
}
