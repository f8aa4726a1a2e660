import { Argument, Command } from "commander";
import { COMMANDS } from "../commands.ts";
import { type CompletedCommand, type Shell, scriptFor } from "../completion-script.ts";
import { writeTo } from "../terminal.ts";

const HELP = `
Examples:
  $ msb completion bash > ~/.local/share/bash-completion/completions/msb
  $ msb completion zsh > "\${fpath[1]}/_msb"
  $ msb completion fish > ~/.config/fish/completions/msb.fish`;

export function command(): Command {
  return new Command("completion")
    .description("Print a completion script for your shell.")
    .addArgument(new Argument("<SHELL>", "your shell").choices(["bash", "zsh", "fish"]))
    .addHelpText("after", HELP)
    .action(async (shell: Shell) => {
      const commands = await Promise.all(
        COMMANDS.map(async ({ name, alias, summary, load }) =>
          describe((await load()).command(), name, alias, summary),
        ),
      );
      await writeTo("stdout", scriptFor(shell, commands));
    });
}

function describe(
  command: Command,
  name: string,
  alias: string | undefined,
  summary: string,
): CompletedCommand {
  return {
    name,
    ...(alias !== undefined && { alias }),
    summary,
    flags: command.options.filter((option) => !option.hidden && option.long).map((option) => option.long!),
    words: [
      ...command.commands.map((child) => child.name()),
      ...command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
    ],
    takesSandbox: takes(command, "SANDBOX"),
    takesImage: takes(command, "IMAGE"),
    takesSnapshot: takes(command, "SNAPSHOT"),
  };
}

/** By what stands in its usage, or in that of a subcommand: `<IMAGE...>`, `<SANDBOX|IMAGE>`. */
function takes(command: Command, what: string): boolean {
  return [command, ...command.commands].some(({ registeredArguments: [first] }) =>
    first?.name().split("|").includes(what),
  );
}
