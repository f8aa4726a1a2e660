import type { Command } from "./instruction.ts";
import type { LogicalText } from "./logical-text.ts";

/** The exec form is a JSON list; all else is a line for the shell. */
export function commandOf(text: LogicalText): Command {
  const list = text.list();
  if (list !== undefined) return { form: "exec", argv: list.map((one) => one.text) };
  return { form: "shell", script: text.text.trim() };
}
