import { Command } from "commander";
import { SandboxError } from "../../contract/errors.ts";
import { Registry } from "../../sdk/index.ts";
import { ask, askSecret, canAsk } from "../prompt.ts";
import { bytesOfStdin } from "../stdin.ts";
import { print } from "../terminal.ts";

const HELP = `
Asks the registry whether it takes the credentials, and keeps them if it does, for this user alone. Credentials of
docker login are found without this.

Examples:
  $ msb login                                       docker.io; asks for the name and the password
  $ msb login -u ann registry.example.com
  $ msb login -u ann --password-stdin ghcr.io < token.txt`;

/** As long as a token can be. */
const MAX_SECRET_BYTES = 64 * 1024;

interface LoginFlags {
  username?: string;
  passwordStdin?: boolean;
}

export function command(): Command {
  return new Command("login")
    .description("Keep credentials for a registry.")
    .argument("[HOST]", "the registry", "docker.io")
    .option("-u, --username <NAME>", "name of the user (default: asks)")
    .option("--password-stdin", "read the password from stdin")
    .addHelpText("after", HELP)
    .action(login);
}

async function login(registry: string, { username, passwordStdin }: LoginFlags): Promise<void> {
  if (passwordStdin && username === undefined) {
    throw new SandboxError("invalid_argument", "--password-stdin needs --username");
  }
  if (!passwordStdin && !canAsk()) {
    throw new SandboxError("invalid_argument", "there is nobody to ask for a password", {
      hint: "msb login -u NAME --password-stdin HOST < FILE",
    });
  }
  const name = username ?? (await ask("User name: ")).trim();
  const password = passwordStdin ? await secretOfStdin() : await askSecret("Password: ");
  if (name === "" || password === "") {
    throw new SandboxError("invalid_argument", `${name === "" ? "the name" : "the password"} is empty`);
  }
  await Registry.login({ registry, username: name, password });
  print(`logged in to ${registry}`);
}

/** Without the line end that `echo` adds. */
async function secretOfStdin(): Promise<string> {
  return (await bytesOfStdin(MAX_SECRET_BYTES)).toString("utf8").replace(/\r?\n$/, "");
}
