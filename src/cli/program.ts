import { Command, CommanderError } from "commander";
import { VERSION } from "../contract/build.ts";
import { COMMANDS, type CommandEntry } from "./commands.ts";
import { exitCodeOf, reportFailure } from "./failure.ts";
import { exitAfterFlush, watchOutput } from "./terminal.ts";

const EXAMPLES = `
Examples:
  $ msb run msb/python -- python3 -c 'print(6 * 7)'    one command, in a sandbox of its own
  $ msb run --name box msb/base                        a sandbox that stays
  $ msb exec box -- sh -c 'uname -a'
  $ msb doctor                                         when something does not work

Help for a command: msb help COMMAND`;

/** Runs `msb` with the given arguments and ends the process. */
export async function main(args: string[]): Promise<never> {
  watchOutput();
  const [word] = args;
  const entry = COMMANDS.find(({ name, alias }) => word !== undefined && (name === word || alias === word));
  try {
    // The usual case loads one command and nothing of the others.
    const program = entry ? await programOf([entry], word) : await programForHelp(args);
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    process.exitCode = failed(error, entry, args);
  }
  return exitAfterFlush();
}

function failed(error: unknown, entry: CommandEntry | undefined, args: string[]): number {
  const runs = ["run", "exec", "shell", "attach", "wait"].includes(entry?.name ?? "");
  if (error instanceof CommanderError) {
    // Commander has said all that there is to say.
    if (error.exitCode === 0) return 0;
    return runs ? 125 : 2;
  }
  reportFailure(error, { json: !runs && args.includes("--json") });
  return exitCodeOf(error, runs ? 125 : 1);
}

function root(): Command {
  return new Command("msb")
    .description("Run untrusted code in microVMs.")
    .usage("COMMAND …")
    .version(VERSION, "-V, --version", "show the version of msb")
    .helpOption("-h, --help", "show help")
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error: /, "msb: ").replace(/\n\(Did/, " (Did")),
    })
    .addHelpText("after", EXAMPLES);
}

async function programOf(entries: readonly CommandEntry[], as?: string): Promise<Command> {
  const program = root();
  for (const entry of entries) {
    const command = (await entry.load()).command();
    command
      .copyInheritedSettings(program)
      .name(as ?? entry.name)
      .summary(entry.summary)
      .helpGroup(entry.group);
    command.showHelpAfterError(`hint: msb ${entry.name} --help`);
    for (const child of command.commands) {
      child.copyInheritedSettings(command);
      child.showHelpAfterError(`hint: msb ${entry.name} ${child.name()} --help`);
    }
    if (entry.alias && entry.alias !== as) command.alias(entry.alias);
    program.addCommand(command);
  }
  return program;
}

/** For `msb`, `msb --help`, `msb help …` and mistyped commands. */
async function programForHelp(args: string[]): Promise<Command> {
  const program = await programOf(COMMANDS);
  program.helpCommand("help [command]", "show help for a command");
  if (args.length === 0) program.action(() => program.outputHelp());
  return program;
}
