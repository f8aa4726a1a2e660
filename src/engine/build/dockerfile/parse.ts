/**
 * A Dockerfile as instructions. `dockerfile-ast` tells where instructions, flags and heredocs stand; what the arguments mean is
 * decided here. What this builder does not do is refused with line and column, and never skipped.
 *
 * It is a stranger's text: at most 1 MiB, 10,000 instructions.
 */

import { DockerfileParser } from "dockerfile-ast";
import { SandboxError } from "../../../contract/index.ts";
import { commandOf } from "./command.ts";
import { parseCopy } from "./copy-instruction.ts";
import type { FromInstruction, Instruction } from "./instruction.ts";
import { unsupported, wrong } from "./position.ts";
import { parseRun } from "./run-instruction.ts";
import { lineOffsets, positionOf, type Source, sourceOf } from "./source.ts";

const MAX_CHARS = 1024 * 1024;
const MAX_INSTRUCTIONS = 10_000;

export interface ParsedDockerfile {
  instructions: Instruction[];
  /** `\` or `` ` ``. */
  escapeChar: string;
}

/** Instructions that exist and are not for this builder, with the reason. */
const REFUSED: Record<string, string> = {
  HEALTHCHECK: "sandboxes run no health checks",
  ONBUILD: "triggers for other builds are not supported",
};

/** Errors: `invalid_argument`, `unsupported`, with line and column. */
export function parseDockerfile(text: string): ParsedDockerfile {
  if (text.length > MAX_CHARS) {
    throw new SandboxError(
      "invalid_argument",
      `the Dockerfile has ${text.length} characters, ${MAX_CHARS} are allowed`,
    );
  }
  if (text.includes("\0"))
    throw new SandboxError("invalid_argument", "the Dockerfile holds a NUL byte: it is no text");
  const plain = text.replace(/^\uFEFF/, "").replaceAll("\r\n", "\n");
  const tree = DockerfileParser.parse(plain);
  const escapeChar = tree.getEscapeCharacter();
  for (const directive of tree.getDirectives()) {
    const at = positionOf(directive.getRange()!.start);
    const name = directive.getDirective()?.toLowerCase();
    if (
      name === "syntax" &&
      !/^docker\/dockerfile(:1(\.[0-9.]+)?(-labs)?)?$/.test(directive.getValue() ?? "")
    ) {
      throw unsupported(at, `the syntax ${directive.getValue()} is not supported`, "docker/dockerfile:1 is.");
    }
  }
  const nodes = tree.getInstructions();
  if (nodes.length > MAX_INSTRUCTIONS) {
    throw new SandboxError(
      "invalid_argument",
      `the Dockerfile has more than ${MAX_INSTRUCTIONS} instructions`,
    );
  }
  const offsets = lineOffsets(plain);
  const instructions = nodes.map((node) => toInstruction(sourceOf(node, plain, offsets, escapeChar)));
  if (!instructions.some(({ keyword }) => keyword === "FROM")) {
    throw new SandboxError("invalid_argument", "the Dockerfile has no FROM: there is nothing to build on", {
      hint: "Begin with FROM IMAGE, or with FROM scratch.",
    });
  }
  return { instructions, escapeChar };
}

function toInstruction(source: Source): Instruction {
  const { keyword, at, flags } = source;
  const common = { at, source: source.source };
  const text = source.arguments.text.trim();
  if (REFUSED[keyword] !== undefined)
    throw unsupported(at, `${keyword} is not supported: ${REFUSED[keyword]}`);
  if (text === "" && KEYWORDS.has(keyword)) throw wrong(at, `${keyword} needs arguments`);
  const word = () => ({ text, at: source.arguments.at(source.arguments.text.search(/\S/)) });
  switch (keyword) {
    case "FROM":
      return parseFrom(source);
    case "RUN":
      return parseRun(source);
    case "COPY":
    case "ADD":
      return parseCopy(source);
    case "ARG":
      flags.none(keyword);
      return { ...common, keyword, args: parseArgs(source) };
    case "ENV":
    case "LABEL":
      flags.none(keyword);
      return { ...common, keyword, pairs: parsePairs(source) };
    case "CMD":
    case "ENTRYPOINT":
      flags.none(keyword);
      return { ...common, keyword, command: commandOf(source.arguments) };
    case "EXPOSE":
    case "VOLUME":
      flags.none(keyword);
      return { ...common, keyword, words: source.arguments.list() ?? source.arguments.words() };
    case "WORKDIR":
    case "USER":
    case "STOPSIGNAL":
    case "MAINTAINER":
      flags.none(keyword);
      return { ...common, keyword, text: word() };
    case "SHELL": {
      flags.none(keyword);
      const shell = source.arguments.list();
      if (shell === undefined || shell.length === 0)
        throw wrong(at, 'SHELL wants a list, as SHELL ["/bin/bash", "-c"]');
      return { ...common, keyword, shell: shell.map((one) => one.text) };
    }
    default:
      throw wrong(at, `there is no instruction ${JSON.stringify(keyword)}`);
  }
}

const KEYWORDS = new Set(
  "FROM RUN COPY ADD ARG ENV LABEL CMD ENTRYPOINT EXPOSE VOLUME WORKDIR USER STOPSIGNAL MAINTAINER SHELL".split(
    " ",
  ),
);

function parseFrom(source: Source): FromInstruction {
  const platform = source.flags.take("platform");
  source.flags.done("FROM");
  const [image, as, stage, ...rest] = source.arguments.words();
  const isNamed =
    as !== undefined && stage !== undefined && as.text.toUpperCase() === "AS" && rest.length === 0;
  if (image === undefined || (as !== undefined && !isNamed)) {
    throw wrong((rest[0] ?? as ?? { at: source.at }).at, "FROM wants an image, and perhaps AS and a name");
  }
  if (stage !== undefined && !/^[a-z][a-z0-9_.-]*$/i.test(stage.text)) {
    throw wrong(stage.at, `${JSON.stringify(stage.text)} is no name for a stage`);
  }
  return {
    keyword: "FROM",
    at: source.at,
    source: source.source,
    image,
    stage: stage?.text.toLowerCase(),
    platform,
  };
}

function parseArgs({ arguments: text, escapeChar }: Source) {
  return text.quotedWords(escapeChar).map(({ text: word, at }) => {
    const equals = word.indexOf("=");
    const name = equals === -1 ? word : word.slice(0, equals);
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
      throw wrong(at, `${JSON.stringify(name)} is no name for a variable`);
    const value =
      equals === -1
        ? undefined
        : { text: word.slice(equals + 1), at: { ...at, column: at.column + equals + 1 } };
    return { name, value, at };
  });
}

/** `NAME=value NAME=value`, or the old `NAME and all the rest is the value`. */
function parsePairs({ keyword, arguments: text, escapeChar }: Source) {
  const words = text.quotedWords(escapeChar);
  const first = words[0]!;
  if (!first.text.includes("=")) {
    const start = text.text.search(/\S/) + first.text.length;
    const value = text.text.slice(start).trim();
    if (value === "") throw wrong(first.at, `${keyword} wants NAME=value`);
    const at = text.at(text.text.indexOf(value, start));
    return [{ name: first, value: { text: value, at } }];
  }
  return words.map(({ text: word, at }) => {
    const equals = word.indexOf("=");
    if (equals <= 0) throw wrong(at, `${JSON.stringify(word)} is not of the form NAME=value`);
    return {
      name: { text: word.slice(0, equals), at },
      value: { text: word.slice(equals + 1), at: { ...at, column: at.column + equals + 1 } },
    };
  });
}
