import { SandboxError } from "../../contract/errors.ts";
import type { Cbor } from "./cbor.ts";
import { encodeIdentity, encodeMessage, type GuestNetwork, type Setup } from "./commands.ts";
import type { AgentConnection } from "./connection.ts";
import { readSetupResult, type SetupResult } from "./control.ts";
import type { Wait } from "./deadline.ts";
import { Fields } from "./fields.ts";

/**
 * User processes stand still while a VM's state is stored, and in a VM that was loaded from it until it is another one
 * (spec/agent-protocol.md, "freeze", "restore", "thaw"). All that is read here is the guest's word.
 */

const DEFAULT_FREEZE_MS = 2_000;
/** The guest gives hooks 30 s together (spec, "thaw"), and some to be killed. */
const HOOKS_TIMEOUT_MS = 40_000;
/** What a reply may take beyond the time that the guest has. */
const REPLY_MS = 10_000;
const MAX_HOOKS = 64;
const MAX_NAME = 255;

/** Who a VM is that was loaded from the state of a sandbox. */
export interface GuestRestore {
  /** None of it as any VM of the same state had it. */
  identity: Setup["identity"];
  /** Counts the restores that led to this VM; `/run/microsandbox/generation` holds it. */
  generation: number;
  /** What the interface is to be; without it, it is left as it is. */
  network?: RestoredNetwork | undefined;
  /** Leaves TCP connections to others as they are. Default false: their owners get an error at once. */
  keepConnections?: boolean | undefined;
}

/** `mac`: the interface's own address, 6 bytes; without it, it keeps the one it has. */
export type RestoredNetwork = GuestNetwork & { mac?: Uint8Array | undefined };

/** What became of one file of `/etc/msb/on-restore.d`. */
export type HookResult = { name: string } & ({ code: number } | { signal: number } | { timeout: true });

type Agent = Pick<AgentConnection, "request">;

/**
 * Has every user process stand still. Nothing can be started until `thawGuest`.
 *
 * @param wait `freezeMs`: how long the guest's processes may take to come to rest, milliseconds; default 2,000
 * @throws SandboxError `timeout` when one did not (all go on), `invalid_state` before setup, `unsupported` by an agent of
 *   an older template
 */
export async function freezeGuest(agent: Agent, wait: Wait & { freezeMs?: number } = {}): Promise<void> {
  const { freezeMs = DEFAULT_FREEZE_MS, ...rest } = wait;
  const encode = (id: number) => encodeMessage({ op: "freeze", id, timeout_ms: freezeMs });
  await agent.request("freeze", encode, () => undefined, { timeoutMs: freezeMs + REPLY_MS, ...rest });
}

/**
 * Has user processes go on; before that, with `hooks`, the sandbox's own hooks run.
 *
 * @param wait default with hooks 40,000 ms, else as for any request
 * @returns what became of the hooks, in the order in which they ran
 */
export function thawGuest(
  agent: Agent,
  { hooks }: { hooks: boolean },
  wait: Wait = {},
): Promise<HookResult[]> {
  const encode = (id: number) => encodeMessage({ op: "thaw", id, hooks });
  return agent.request("thaw", encode, readHooks, hooks ? { timeoutMs: HOOKS_TIMEOUT_MS, ...wait } : wait);
}

/**
 * Makes a VM that was loaded from a sandbox's state one of its own, while its processes stand still. A guest in which this
 * failed is of no use, and must not be thawed.
 *
 * @throws SandboxError `internal` unless the guest says that its random generator was reseeded; `invalid_state` when it
 *   does not stand still
 */
export function restoreGuest(
  agent: Agent,
  restore: GuestRestore,
  wait: Wait = {},
): Promise<SetupResult & { reseeded: true }> {
  return agent.request("restore", (id) => encodeRestore(id, restore), readRestored, wait);
}

export function encodeRestore(id: number, restore: GuestRestore): Buffer {
  const { identity, generation, network, keepConnections } = restore;
  if (!Number.isSafeInteger(generation) || generation < 0)
    throw new SandboxError("invalid_argument", `a generation is a number of restores, not ${generation}`);
  return encodeMessage({
    op: "restore",
    id,
    identity: encodeIdentity(identity),
    generation,
    network,
    keep_connections: keepConnections,
  });
}

export function readRestored(result: Fields): SetupResult & { reseeded: true } {
  return { reseeded: true, ...readSetupResult(result) };
}

export function readHooks(result: Fields): HookResult[] {
  return result.list("hooks", MAX_HOOKS).map((each: Cbor) => {
    const hook = new Fields(each, "a hook");
    const name = hook.prose("name", MAX_NAME);
    if (hook.has("timeout")) return { name, timeout: hook.true("timeout") };
    if (hook.has("signal")) return { name, signal: hook.uint("signal", 64) };
    return { name, code: hook.uint("code", 255) };
  });
}
