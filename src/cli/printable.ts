/**
 * Text from outside (names, digests, Dockerfile lines, what build steps write) on its way to a terminal. A control character there could
 * move the cursor, rewrite what was printed or type for the user.
 */

/** Controls of C0 and C1, line separators, and the marks that turn the direction of text around. */
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** With what must not reach a terminal spelled out, as `\x1b`. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => {
    const code = character.codePointAt(0)!;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`;
  });
}

/** The same for a message of several lines. */
export function printableLines(text: string): string {
  return text.split("\n").map(printable).join("\n");
}

/** Columns that a printable text takes; near enough: everything from CJK on counts two. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) width += widthOf(character);
  return width;
}

/** At most so many columns of it, `…` standing for the rest. */
export function cut(text: string, columns: number): string {
  if (displayWidth(text) <= columns) return text;
  let kept = "";
  let width = 1;
  for (const character of text) {
    width += widthOf(character);
    if (width > columns) break;
    kept += character;
  }
  return columns < 1 ? "" : `${kept}…`;
}

function widthOf(character: string): number {
  return character.codePointAt(0)! < 0x2e80 ? 1 : 2;
}
