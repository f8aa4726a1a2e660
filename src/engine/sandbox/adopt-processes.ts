import type { AgentConnection, HeldOutput } from "../guest/index.ts";
import type { SandboxLog } from "./log.ts";
import { SandboxProcess } from "./process.ts";
import type { Processes } from "./processes.ts";

/**
 * Processes that ran before this connection go on into the log; who listened to them has gone.
 *
 * @param options `others`: channels that are no processes of the sandbox's: somebody else has taken them over. `fresh`: the log begins
 * here, so that nothing is lost of what the guest holds no more. `main`: the channel of the main process
 */
export async function adoptProcesses(
  agent: AgentConnection,
  log: SandboxLog,
  processes: Processes,
  { others, fresh, main }: { others: ReadonlySet<number>; fresh: boolean; main: number | undefined },
): Promise<SandboxProcess[]> {
  const listed = agent.info.processes.filter(({ channel }) => !others.has(channel));
  processes.onlyTheseRun(new Set(listed.map(({ channel }) => channel)));
  if (listed.length === 0) return [];
  const offsets = await log.offsets();
  return listed.map(({ channel, stdout, stderr }) => {
    const from = (stream: "stdout" | "stderr", held: HeldOutput) =>
      Math.min(offsets.get(`${channel}/${stream}`) ?? (fresh ? held.start : 0), held.end);
    const guest = agent.adopt(channel, {
      stdoutFrom: from("stdout", stdout),
      stderrFrom: from("stderr", stderr),
    });
    return processes.adopt(channel, channel === main, (options) => new SandboxProcess(guest, log, options));
  });
}
