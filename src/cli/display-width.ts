/** How wide text is on a terminal. */

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
