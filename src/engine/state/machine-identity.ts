/** What must be the same on the host that loads a state as on the one that stored it. */

import { z } from "zod";
import type { TemplateInputs } from "../template/index.ts";

const text = z.string().max(1024);

export const machineIdentity = z.object({
  cpus: z.int(),
  memoryMiB: z.int(),
  volumeSlots: z.int(),
  network: text,
  assets: text,
  vmm: text,
  version: text,
  fingerprint: text,
  accelerator: text,
  cpuModel: text,
  processor: text,
  /** Version of the agent protocol that the stored guest speaks. */
  agentProtocol: z.int(),
});

/** All that shapes a template, and the agent's protocol. */
export type MachineIdentity = z.output<typeof machineIdentity> & TemplateInputs;

const VMM_NAMES: Record<string, string> = { qemu: "QEMU" };

/** In the order in which they are told: what explains the others comes first. */
const DIFFERENCES: [keyof MachineIdentity, (stored: MachineIdentity, here: MachineIdentity) => string][] = [
  ["vmm", (stored, here) => `it was stored by ${vmm(stored)}, this host has ${vmm(here)}`],
  ["version", (stored, here) => `it was stored by ${vmm(stored)}, this host has ${here.version}`],
  [
    "accelerator",
    (stored, here) =>
      `it was stored with accelerator ${stored.accelerator}, this host uses ${here.accelerator}`,
  ],
  [
    "cpuModel",
    (stored, here) =>
      `it was stored with CPU model '${stored.cpuModel}', here it would be '${here.cpuModel}'`,
  ],
  ["processor", () => "it was stored on another processor, whose name and features its guest has seen"],
  [
    "agentProtocol",
    (stored, here) =>
      `its guest agent speaks protocol ${stored.agentProtocol}, this Microsandbox speaks ${here.agentProtocol}`,
  ],
  [
    "assets",
    (stored, here) =>
      `it was stored with guest kernel and agent ${short(stored.assets)}, this Microsandbox has ${short(here.assets)}`,
  ],
  [
    "fingerprint",
    () => "its machine was made by another build of the VMM, or by another version of Microsandbox",
  ],
  ["cpus", (stored, here) => `it has ${stored.cpus} CPUs, the machine would have ${here.cpus}`],
  [
    "memoryMiB",
    (stored, here) => `it has ${stored.memoryMiB} MiB of memory, the machine would have ${here.memoryMiB}`,
  ],
  [
    "volumeSlots",
    (stored, here) =>
      `it has ${stored.volumeSlots} slots for volumes, the machine would have ${here.volumeSlots}`,
  ],
  [
    "network",
    (stored, here) => `it has ${networkInterface(stored)}, the machine would have ${networkInterface(here)}`,
  ],
];

/** The first difference that keeps a state from being loaded, in words; undefined if there is none. */
export function mismatch(stored: { machine: MachineIdentity }, here: MachineIdentity): string | undefined {
  const found = DIFFERENCES.find(([key]) => stored.machine[key] !== here[key]);
  return found?.[1](stored.machine, here);
}

function vmm(machine: MachineIdentity): string {
  return `${VMM_NAMES[machine.vmm] ?? machine.vmm} ${machine.version}`;
}

function networkInterface({ network }: MachineIdentity): string {
  return network === "" ? "no network interface" : `network interface ${network}`;
}

function short(hash: string): string {
  return hash.slice(0, 12);
}
