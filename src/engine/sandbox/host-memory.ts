import { totalmem } from "node:os";
import { SandboxError } from "../../contract/index.ts";

/** @throws `resource_exhausted` if the host has less memory than the sandbox asks for */
export function assertMemory(memoryMiB: number): void {
  const hostMiB = Math.floor(totalmem() / 1024 ** 2);
  if (memoryMiB <= hostMiB) return;
  throw new SandboxError(
    "resource_exhausted",
    `the sandbox asks for ${memoryMiB} MiB of memory, this host has ${hostMiB} MiB`,
    {
      hint: "Ask for less.",
      details: { askedMiB: memoryMiB, hostMiB },
    },
  );
}
