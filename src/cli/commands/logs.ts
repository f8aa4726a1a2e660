import { Command, InvalidArgumentError, Option } from "commander";
import { type LogRecord, Sandbox } from "../../sdk/index.ts";
import { parseCount, parseMoment } from "../quantity.ts";
import { writeTo } from "../terminal.ts";

const HELP = `
What the processes wrote to stdout goes to stdout, all else to stderr.

Examples:
  $ msb logs box
  $ msb logs --follow --tail 10 box
  $ msb logs --since 10m --stream stderr --grep error box
  $ msb logs --console box            what the kernel said, when a sandbox does not come up`;

const STREAMS: readonly LogRecord["stream"][] = ["stdout", "stderr", "system"];
const collectCounts = (text: string, before: number[] = []) => [...before, parseCount(text)];

function collectStreams(text: string, before: LogRecord["stream"][] = []): LogRecord["stream"][] {
  const stream = STREAMS.find((one) => one === text);
  if (stream === undefined) throw new InvalidArgumentError(`it is one of ${STREAMS.join(", ")}.`);
  return [...before, stream];
}

interface LogsFlags {
  follow?: boolean;
  tail?: number;
  since?: string;
  until?: string;
  process?: number[];
  stream?: LogRecord["stream"][];
  grep?: string;
  timestamps?: boolean;
  console?: boolean;
  json?: boolean;
}

export function command(): Command {
  return new Command("logs")
    .description("Show what a sandbox's processes wrote.")
    .argument("<SANDBOX>", "name or id")
    .option("-f, --follow", "go on as more is written, until the sandbox is removed")
    .option("--tail <N>", "only the last N pieces", parseCount)
    .option("--since <TIME>", "only from then on: 10m ago, or 2026-01-31T12:00:00Z", parseMoment)
    .option("--until <TIME>", "only up to then", parseMoment)
    .option("--process <N>", "only of this process, by its number (repeatable)", collectCounts)
    .addOption(
      new Option("--stream <STREAM>", "only stdout, stderr or system (repeatable)")
        .choices(STREAMS)
        .argParser(collectStreams),
    )
    .option("--grep <TEXT>", "only lines that contain this text")
    .option("--timestamps", "put the time and the process before each piece")
    .addOption(
      new Option("--console", "show the VM's console instead").conflicts([
        "follow",
        "tail",
        "since",
        "until",
        "process",
        "stream",
        "grep",
        "timestamps",
      ]),
    )
    .option("--json", "print one JSON record per line")
    .addHelpText("after", HELP)
    .action(logs);
}

async function logs(ref: string, flags: LogsFlags): Promise<void> {
  const sandbox = Sandbox.at(ref);
  if (flags.console) {
    const text = await sandbox.console();
    await writeTo("stdout", flags.json ? `${JSON.stringify({ console: text })}\n` : text);
    return;
  }
  const stop = new AbortController();
  process.once("SIGINT", () => {
    process.exitCode = 130;
    stop.abort();
  });
  try {
    for await (const record of sandbox.logs({
      follow: flags.follow,
      tail: flags.tail,
      since: flags.since,
      until: flags.until,
      processes: flags.process,
      streams: flags.stream,
      grep: flags.grep,
      signal: stop.signal,
    })) {
      await writeTo(...rendered(record, flags));
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
}

function rendered(
  record: LogRecord,
  { json, timestamps }: LogsFlags,
): ["stdout" | "stderr", Buffer | string] {
  if (json) return ["stdout", `${JSON.stringify(record)}\n`];
  const stream = record.stream === "stdout" ? "stdout" : "stderr";
  const bytes =
    record.text === undefined ? Buffer.from(record.base64 ?? "", "base64") : Buffer.from(record.text);
  if (!timestamps) return [stream, bytes];
  const end = bytes.at(-1) === 10 ? "" : "\n";
  return [
    stream,
    Buffer.concat([Buffer.from(`${record.time} [${record.process}] `), bytes, Buffer.from(end)]),
  ];
}
