import type { AgentConnection } from "../guest/index.ts";
import type { SandboxLog } from "./log.ts";
import { SandboxProcess } from "./process.ts";
import type { Processes } from "./processes.ts";

/**
 * Processes that ran before this connection go on into the log; who listened to them has gone.
 *
 * @param others channels that are no processes of the sandbox's: somebody else has taken them over
 */
export async function adoptProcesses(
  agent: AgentConnection,
  log: SandboxLog,
  processes: Processes,
  others: ReadonlySet<number>,
): Promise<SandboxProcess[]> {
  const listed = agent.info.processes.filter(({ channel }) => !others.has(channel));
  processes.onlyTheseRun(new Set(listed.map(({ channel }) => channel)));
  if (listed.length === 0) return [];
  const offsets = await log.offsets();
  return listed.map(({ channel, stdout, stderr }) => {
    const from = (stream: "stdout" | "stderr", end: number) =>
      Math.min(offsets.get(`${channel}/${stream}`) ?? 0, end);
    const guest = agent.adopt(channel, {
      stdoutFrom: from("stdout", stdout.end),
      stderrFrom: from("stderr", stderr.end),
    });
    return processes.adopt(channel, (options) => new SandboxProcess(guest, log, options));
  });
}
