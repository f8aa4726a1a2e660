import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { jailCommand } from "./jail.ts";

const run = promisify(execFile);

/**
 * Runs QEMU's `--version` in the jail.
 * @returns what stands in the way, in the words of the program that said so; `undefined` if it works
 */
export async function whatKeepsTheJail(root: string, uid: number | undefined): Promise<string | undefined> {
  const command = jailCommand(
    { root, mounts: [], uid, kvm: false, maxFileBytes: 1024 ** 2, maxAddressSpace: 4 * 1024 ** 3, infoFd: 1 },
    ["--version"],
  );
  try {
    await run(command[0]!, command.slice(1), { timeout: 10_000 });
    return undefined;
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    return (stderr?.trim().split("\n").at(-1) || message).trim();
  }
}
