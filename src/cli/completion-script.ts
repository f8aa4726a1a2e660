/** Completion scripts, made of the commands themselves so that they are never out of date. */

export type Shell = "bash" | "zsh" | "fish";

export interface CompletedCommand {
  name: string;
  alias?: string;
  summary: string;
  flags: string[];
  /** Subcommands and fixed values. */
  words: string[];
  takesSandbox: boolean;
  takesImage: boolean;
  takesSnapshot: boolean;
}

/** Names come from the daemon; where it does not run, none is started for the sake of a Tab. */
const SANDBOX_NAMES = "msb daemon status >/dev/null 2>&1 && msb ls --quiet 2>/dev/null";
const IMAGE_NAMES =
  "msb daemon status >/dev/null 2>&1 && { msb images 2>/dev/null | awk 'NR > 1 {print $1}'; msb snapshot ls --prepared --quiet 2>/dev/null; }";
const SNAPSHOT_NAMES = "msb daemon status >/dev/null 2>&1 && msb snapshot ls --quiet 2>/dev/null";

export function scriptFor(shell: Shell, commands: readonly CompletedCommand[]): string {
  switch (shell) {
    case "bash":
      return bash(commands);
    case "zsh":
      return zsh(commands);
    case "fish":
      return fish(commands);
  }
}

const namesOf = (commands: readonly CompletedCommand[]) =>
  commands.flatMap(({ name, alias }) => (alias === undefined ? [name] : [name, alias]));

const patternOf = ({ name, alias }: CompletedCommand) => (alias === undefined ? name : `${name}|${alias}`);

function bashCases(commands: readonly CompletedCommand[]): string {
  return commands
    .map((command) => {
      const words = [...command.words, ...command.flags, "--help"].join(" ");
      const sandboxes = command.takesSandbox ? ` $(${SANDBOX_NAMES})` : "";
      const images = command.takesImage ? ` $(${IMAGE_NAMES})` : "";
      const names = sandboxes + images + (command.takesSnapshot ? ` $(${SNAPSHOT_NAMES})` : "");
      return `    ${patternOf(command)}) words="${words}${names}" ;;`;
    })
    .join("\n");
}

function bash(commands: readonly CompletedCommand[]): string {
  return `# bash completion for msb
_msb() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${namesOf(commands).join(" ")} help --help --version" -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
    help) words="${namesOf(commands).join(" ")}" ;;
${bashCases(commands)}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _msb msb
`;
}

function zsh(commands: readonly CompletedCommand[]): string {
  const described = commands.map(({ name, summary }) => `    '${name}:${summary.replaceAll("'", "'\\''")}'`);
  return `#compdef msb
_msb() {
  local -a commands
  commands=(
${described.join("\n")}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local words_=""
  case "\${words[2]}" in
${bashCases(commands).replaceAll(' words="', ' words_="')}
  esac
  compadd -- \${=words_}
  _files
}
compdef _msb msb
`;
}

function fish(commands: readonly CompletedCommand[]): string {
  const lines = ["# fish completion for msb", "complete -c msb -f"];
  for (const command of commands) {
    const quoted = command.summary.replaceAll("'", "\\'");
    lines.push(`complete -c msb -n __fish_use_subcommand -a ${command.name} -d '${quoted}'`);
    const seen = `-n '__fish_seen_subcommand_from ${patternOf(command).replace("|", " ")}'`;
    for (const flag of command.flags) lines.push(`complete -c msb ${seen} -l ${flag.slice(2)}`);
    if (command.words.length > 0) lines.push(`complete -c msb ${seen} -a '${command.words.join(" ")}'`);
    if (command.takesSandbox) lines.push(`complete -c msb ${seen} -a '(msb ls --quiet 2>/dev/null)'`);
    if (command.takesSnapshot)
      lines.push(`complete -c msb ${seen} -a '(msb snapshot ls --quiet 2>/dev/null)'`);
    if (command.takesImage) {
      lines.push(`complete -c msb ${seen} -a "(msb images 2>/dev/null | awk 'NR > 1 {print \\$1}')"`);
    }
  }
  return `${lines.join("\n")}\n`;
}
