import { commandOf } from "./command.ts";
import { isHeredocMark } from "./heredocs.ts";
import type { CacheMount, RunInstruction } from "./instruction.ts";
import type { Word } from "./logical-text.ts";
import { unsupported, wrong } from "./position.ts";
import type { Source } from "./source.ts";

/** RUN: its mounts, and what it runs. */
export function parseRun(source: Source): RunInstruction {
  const mounts = source.flags.takeAll("mount").map(parseMount);
  const network = source.flags.take("network");
  if (network !== undefined && network.text !== "none" && network.text !== "default") {
    throw unsupported(
      network.at,
      `RUN --network=${network.text} is not supported`,
      "There are none and default.",
    );
  }
  source.flags.done("RUN");
  const common = {
    keyword: "RUN",
    at: source.at,
    source: source.source,
    mounts,
    network: network?.text === "none" ? "none" : "default",
  } as const;
  const { heredocs } = source;
  if (heredocs.length === 0) {
    const command = commandOf(source.arguments);
    if (command.form === "exec" && !command.argv[0]) throw wrong(source.at, "RUN names no program");
    return { ...common, command };
  }
  const [only] = heredocs;
  const line = source.arguments.text.trim();
  if (heredocs.length === 1 && isHeredocMark(line)) {
    if (only!.contents.startsWith("#!")) {
      throw unsupported(
        only!.at,
        "a heredoc that names its own interpreter is not supported",
        "Name it before the heredoc: RUN python3 <<EOF",
      );
    }
    return { ...common, command: { form: "shell", script: only!.contents } };
  }
  // The shell reads them: it is given the line and what follows as they are.
  const bodies = heredocs.map(({ written }) => written).join("");
  return { ...common, command: { form: "shell", script: `${line}\n${bodies}` } };
}

const MOUNT_KEYS = new Set([
  "type",
  "target",
  "dst",
  "destination",
  "id",
  "sharing",
  "mode",
  "uid",
  "gid",
  "ro",
  "readonly",
  "rw",
  "readwrite",
]);

function parseMount({ text, at }: Word): CacheMount {
  const options = new Map<string, string>();
  for (const option of text.split(",")) {
    const equals = option.indexOf("=");
    const key = (equals === -1 ? option : option.slice(0, equals)).toLowerCase();
    options.set(key, equals === -1 ? "true" : option.slice(equals + 1));
  }
  const type = options.get("type") ?? "bind";
  if (type !== "cache")
    throw unsupported(at, `RUN --mount=type=${type} is not supported`, "There is --mount=type=cache.");
  for (const key of options.keys()) {
    if (!MOUNT_KEYS.has(key))
      throw unsupported(at, `the option ${JSON.stringify(key)} of a cache mount is not supported`);
  }
  for (const key of ["ro", "readonly"]) {
    if (options.get(key) === "true")
      throw unsupported(at, "a cache mount that is read-only is not supported");
  }
  const sharing = options.get("sharing") ?? "shared";
  if (sharing !== "shared" && sharing !== "locked") {
    throw unsupported(
      at,
      `sharing=${sharing} of a cache mount is not supported`,
      "A cache is used by one step at a time.",
    );
  }
  const target = options.get("target") ?? options.get("dst") ?? options.get("destination");
  if (!target) throw wrong(at, "a cache mount needs a target");
  return {
    at,
    target,
    id: options.get("id"),
    mode: numberOf(options.get("mode"), 8, at),
    uid: numberOf(options.get("uid"), 10, at),
    gid: numberOf(options.get("gid"), 10, at),
  };
}

function numberOf(text: string | undefined, base: 8 | 10, at: Word["at"]): number | undefined {
  if (text === undefined) return undefined;
  if (!(base === 8 ? /^0?[0-7]{1,4}$/ : /^[0-9]{1,9}$/).test(text))
    throw wrong(at, `${JSON.stringify(text)} is no number here`);
  return Number.parseInt(text, base);
}
