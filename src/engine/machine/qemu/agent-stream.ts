import { setTimeout as sleep } from "node:timers/promises";
import { SandboxError } from "../../../contract/index.ts";
import type { Qmp } from "./qmp.ts";

/** The unix socket that the guest agent's port is connected to. QEMU is the server, and takes one peer at a time. */

const AGENT_CHARDEV = "agent";
const TAKEN_TIMEOUT_MS = 5_000;
const POLL_MS = 1;

/** QEMU's argument. `socket`: path with its commas doubled. */
export function agentArguments(socket: string, port: string): string[] {
  return [
    ...["-chardev", `socket,id=${AGENT_CHARDEV},path=${socket},server=on,wait=off`],
    ...["-device", "virtio-serial-device,max_ports=2"],
    ...["-device", `virtserialport,chardev=${AGENT_CHARDEV},name=${port}`],
  ];
}

/** Resolves when a peer that has connected has been taken. @throws `timeout` if it is not within 5 s */
export async function agentStreamIsTaken(qmp: Qmp): Promise<void> {
  const deadline = Date.now() + TAKEN_TIMEOUT_MS;
  for (;;) {
    const chardevs = (await qmp.execute("query-chardev")) as { label?: unknown; filename?: unknown }[];
    const filename = String(chardevs.find(({ label }) => label === AGENT_CHARDEV)?.filename);
    // `unix:PATH,server=on <-> PEER` while there is one.
    if (!filename.startsWith("disconnected:")) return;
    if (Date.now() > deadline)
      throw new SandboxError("timeout", "the VMM does not take a connection to the guest's agent");
    await sleep(POLL_MS);
  }
}
