import { type AgentConnection, thawGuest } from "../guest/index.ts";

/**
 * Processes that stand still go on; before that, the hooks of a sandbox that began as another one. One that fails is told of, and keeps
 * nobody from going on.
 */
export async function thaw(
  agent: AgentConnection,
  hooks: boolean,
  tell: (type: string, message: string) => void,
): Promise<void> {
  for (const result of await thawGuest(agent, { hooks })) {
    if ("code" in result && result.code === 0) continue;
    const how =
      "code" in result
        ? `ended with ${result.code}`
        : "signal" in result
          ? `was ended by signal ${result.signal}`
          : "did not end in time";
    tell("sandbox.hook-failed", `the hook '${result.name}' ${how}`);
  }
}
