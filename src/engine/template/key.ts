import { createHash } from "node:crypto";

/** All that shapes a VM: a stored state loads only where every one of these is the same. */
export interface TemplateInputs {
  cpus: number;
  memoryMiB: number;
  /** Disks for volumes: the devices of a state are the same when it is stored and when it is loaded. */
  volumeSlots: number;
  /** Address and MTU of the network interface, as `MAC/MTU`; empty: there is none. */
  network: string;
  /** Content hash of the boot assets. */
  assets: string;
  vmm: string;
  version: string;
  /** Hash of the VMM's binary and fixed arguments. */
  fingerprint: string;
  accelerator: string;
  cpuModel: string;
  /** The processor's own name and features where the guest sees them (hardware acceleration); else empty. */
  processor: string;
}

/** Raised when the meaning of a stored folder changes. */
const FORMAT = 2;

/** Name of the template for these inputs: 32 hex digits, the same for the same inputs whatever the order of fields. */
export function templateKey(inputs: TemplateInputs): string {
  const canonical = JSON.stringify({ FORMAT, ...inputs }, ["FORMAT", ...Object.keys(inputs).sort()]);
  return createHash("sha256").update(canonical).digest("hex").slice(0, 32);
}
