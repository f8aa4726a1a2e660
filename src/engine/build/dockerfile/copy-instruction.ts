import { isHeredocMark } from "./heredocs.ts";
import type { CopyInstruction, CopySource } from "./instruction.ts";
import type { Word } from "./logical-text.ts";
import { unsupported, wrong } from "./position.ts";
import type { Source } from "./source.ts";

/** COPY and ADD: sources, the destination, and who is to own it. */
export function parseCopy(source: Source): CopyInstruction {
  const keyword = source.keyword as "COPY" | "ADD";
  const from = keyword === "COPY" ? source.flags.take("from") : undefined;
  const chown = source.flags.take("chown");
  const chmod = source.flags.take("chmod");
  source.flags.ignore("link"); // says how BuildKit may share the layer, not what is in it
  source.flags.done(keyword);
  const words = source.arguments.list() ?? source.arguments.words();
  const destination = words.pop();
  if (destination === undefined || words.length === 0)
    throw wrong(source.at, `${keyword} wants sources and a destination`);
  const heredocs = [...source.heredocs];
  const sources = words.map((word): CopySource => {
    const heredoc = isHeredocMark(word.text) ? heredocs.shift() : undefined;
    if (heredoc !== undefined) {
      return { at: heredoc.at, name: heredoc.name, contents: heredoc.contents, expand: !heredoc.quoted };
    }
    if (keyword === "ADD") refuseRemote(word);
    return word;
  });
  return { keyword, at: source.at, source: source.source, sources, destination, from, chown, chmod };
}

/** To be asked again when variables have been put in. Errors: `unsupported` for what would have to be fetched. */
export function refuseRemote(word: Word): void {
  if (!/^(https?:\/\/|git@|git:\/\/|ssh:\/\/|.*\.git(#.*)?$)/i.test(word.text)) return;
  throw unsupported(
    word.at,
    `ADD cannot fetch ${JSON.stringify(word.text)}`,
    "Fetch it in a RUN step, or put the file into the context and COPY it.",
  );
}
