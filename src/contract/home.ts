import { homedir } from "node:os";
import { join, resolve } from "node:path";

/**
 * Where an installation keeps itself. Client and daemon must agree on it before they can talk, so it is contract.
 */

/**
 * `$MSB_HOME`, else `~/.microsandbox`. For root it is `/var/lib/microsandbox`: VMs run as another user then, who could not
 * walk through `/root`.
 */
export function homeDirectory(env: NodeJS.ProcessEnv = process.env, uid = process.getuid?.()): string {
  const set = env.MSB_HOME;
  if (set !== undefined && set !== "") return resolve(set);
  return uid === 0 ? "/var/lib/microsandbox" : join(homedir(), ".microsandbox");
}

/** The daemon's socket. */
export const daemonSocket = (home: string): string => join(home, "run", "daemon.sock");

/** What the daemon and its start print; rotated to `daemon.log.1`. */
export const daemonLog = (home: string): string => join(home, "daemon.log");
