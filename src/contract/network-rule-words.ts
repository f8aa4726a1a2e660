export interface Word {
  text: string;
  /** Where it begins, from 1. */
  column: number;
}

/** The words of a line that spaces and tabs part. Other blanks (a non-breaking space, a line break) belong to a word, where they are an error. */
export function wordsOf(line: string): Word[] {
  return Array.from(line.matchAll(/[^ \t]+/g), (match) => ({ text: match[0], column: match.index + 1 }));
}
