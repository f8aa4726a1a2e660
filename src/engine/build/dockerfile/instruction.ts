import type { Word } from "./logical-text.ts";
import type { Position } from "./position.ts";

/** What a Dockerfile may say, as this builder understands it. Texts are as written: variables are put in when the step is built. */

export type Instruction =
  | FromInstruction
  | RunInstruction
  | CopyInstruction
  | ArgInstruction
  | PairsInstruction
  | CommandInstruction
  | WordsInstruction
  | TextInstruction
  | ShellInstruction;

interface Common {
  at: Position;
  /** As history and progress show it. */
  source: string;
}

export interface FromInstruction extends Common {
  keyword: "FROM";
  image: Word;
  stage: string | undefined;
  platform: Word | undefined;
}

export interface RunInstruction extends Common {
  keyword: "RUN";
  command: Command;
  mounts: CacheMount[];
  network: "default" | "none";
}

/** `--mount=type=cache,…`, with words in which variables may stand. */
export interface CacheMount {
  at: Position;
  target: string;
  id: string | undefined;
  mode: number | undefined;
  uid: number | undefined;
  gid: number | undefined;
}

export interface CopyInstruction extends Common {
  keyword: "COPY" | "ADD";
  sources: CopySource[];
  destination: Word;
  from: Word | undefined;
  chown: Word | undefined;
  chmod: Word | undefined;
}

export type CopySource = Word | HeredocSource;

/** A file that stands in the Dockerfile itself. */
export interface HeredocSource {
  at: Position;
  name: string;
  contents: string;
  /** Whether variables in it are put in. */
  expand: boolean;
}

export interface ArgInstruction extends Common {
  keyword: "ARG";
  args: { name: string; value: Word | undefined; at: Position }[];
}

export interface PairsInstruction extends Common {
  keyword: "ENV" | "LABEL";
  pairs: { name: Word; value: Word }[];
}

export interface CommandInstruction extends Common {
  keyword: "CMD" | "ENTRYPOINT";
  command: Command;
}

export interface WordsInstruction extends Common {
  keyword: "EXPOSE" | "VOLUME";
  words: Word[];
}

export interface TextInstruction extends Common {
  keyword: "WORKDIR" | "USER" | "STOPSIGNAL" | "MAINTAINER";
  text: Word;
}

export interface ShellInstruction extends Common {
  keyword: "SHELL";
  shell: string[];
}

/** The exec form is run as it is, the shell form by the image's shell. */
export type Command = { form: "exec"; argv: string[] } | { form: "shell"; script: string };
