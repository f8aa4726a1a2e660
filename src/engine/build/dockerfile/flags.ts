import type { Flag } from "dockerfile-ast";
import type { Word } from "./logical-text.ts";
import { type Position, unsupported, wrong } from "./position.ts";

/** The flags of an instruction. Each is taken by whoever knows it; what is left is refused. */
export interface Flags {
  /** The value of a flag that may stand once. Errors: `invalid_argument` if it has none, or stands twice. */
  take(name: string): Word | undefined;
  /** All values of a flag that may stand several times. */
  takeAll(name: string): Word[];
  /** Takes a flag that changes nothing that could be seen. */
  ignore(name: string): void;
  /** Errors: `unsupported`, naming what nobody has taken. */
  done(keyword: string): void;
  none(keyword: string): void;
}

export function flagsOf(flags: readonly Flag[], at: Position): Flags {
  const left = flags.map((flag) => ({
    name: flag.getName(),
    value: flag.getValue(),
    at: { line: flag.getRange().start.line + 1, column: flag.getRange().start.character + 1 },
  }));
  const takeAll = (name: string): Word[] => {
    const found = left.filter((flag) => flag.name === name);
    for (const flag of found) left.splice(left.indexOf(flag), 1);
    return found.map((flag) => {
      if (!flag.value) throw wrong(flag.at, `--${name} needs a value`);
      return { text: flag.value, at: flag.at };
    });
  };
  const done = (keyword: string) => {
    const [first] = left;
    if (first !== undefined) throw unsupported(first.at, `${keyword} --${first.name} is not supported`);
  };
  return {
    takeAll,
    take(name) {
      const [first, second] = takeAll(name);
      if (second !== undefined) throw wrong(second.at ?? at, `--${name} stands twice`);
      return first;
    },
    ignore(name) {
      for (const flag of left.filter((one) => one.name === name)) left.splice(left.indexOf(flag), 1);
    },
    done,
    none: done,
  };
}
