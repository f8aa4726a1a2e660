/**
 * The examples of a page of the guide. Each block of `console` or `ts` is one, and is run, in the order of the page, unless a
 * comment right above it says otherwise; such comments are not shown where the page is read:
 *
 *     <!-- not run: it needs a registry -->
 *     <!-- before: msb create --name box msb/python -->      what the example takes for granted; a line of shell, any number of these
 *     <!-- varies -->                                        numbers in its output differ from run to run
 *
 * In a console block a line with `$ ` in front is a command, which must succeed; the lines below it are all that it prints,
 * where `…` stands for anything. A command without such lines may print what it likes. A comment behind `console.log(…);` is
 * what that prints.
 */
export interface Example {
  language: "console" | "ts";
  /** Line of the page, from 1. */
  line: number;
  before: string[];
  varies: boolean;
  source: string;
}

export interface Command {
  text: string;
  prints: string | undefined;
}

const COMMENT = /^<!-- (not run|before|varies)(?:: (.*))? -->$/;

export function examplesOf(page: string): Example[] {
  const lines = page.split("\n");
  const examples: Example[] = [];
  for (let at = 0; at < lines.length; at++) {
    const language = /^```(console|ts)$/.exec(lines[at]!)?.[1];
    if (language === undefined) continue;
    const comments = commentsAbove(lines, at);
    const end = lines.indexOf("```", at + 1);
    if (!comments.some(({ what }) => what === "not run")) {
      examples.push({
        language: language as Example["language"],
        line: at + 1,
        before: comments.flatMap(({ what, text }) => (what === "before" ? [text] : [])),
        varies: comments.some(({ what }) => what === "varies"),
        source: lines.slice(at + 1, end).join("\n"),
      });
    }
    at = end;
  }
  return examples;
}

export function commandsOf(example: Example): Command[] {
  const [none, ...commands] = `\n${example.source}`.split(/\n\$ /);
  if (none !== "") throw new Error(`line ${example.line}: an example begins with a command: ${none}`);
  return commands.map((command) => {
    const [text = "", ...prints] = command.split("\n");
    return { text, prints: prints.length === 0 ? undefined : prints.join("\n") };
  });
}

/** What a program says that it logs: `console.log(6 * 7); // 42`. */
export function loggedBy({ source }: Example): string[] {
  return Array.from(source.matchAll(/console\.log\(.*\); \/\/ (.+)$/gm), ([, text]) => text!);
}

/** Whether a command printed what the page shows. */
export function prints(shown: string, printed: string, varies: boolean): boolean {
  const [a, b] = [shown, printed].map((text) => (varies ? withoutNumbers(text) : text.trimEnd()));
  const pattern = a!.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${pattern.join("[^]*")}$`).test(b!);
}

/** Numbers are one number, their units one unit, and columns need not be as wide. */
function withoutNumbers(text: string): string {
  return text
    .replace(/\d[\d.,:]*( ([KMG]i)?B\b)?/g, "0")
    .replace(/ +/g, " ")
    .replace(/ $/gm, "")
    .trimEnd();
}

function commentsAbove(lines: string[], at: number): { what: string; text: string }[] {
  const found: { what: string; text: string }[] = [];
  // Prettier puts an empty line between a comment and what follows.
  for (let above = at - 1; above >= 0; above--) {
    if (lines[above] === "") continue;
    const [, what, text = ""] = COMMENT.exec(lines[above]!) ?? [];
    if (what === undefined) break;
    found.unshift({ what, text });
  }
  return found;
}
