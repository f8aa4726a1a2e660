import { SandboxError } from "../../../contract/index.ts";
import type { Capture, CaptureRequest, MachineRecord } from "../machine.ts";
import { startTimeOf } from "../process-identity.ts";
import { saveDeviceState } from "./device-state.ts";
import { readDirtyMemory, startMemoryThread } from "./dirty-memory.ts";
import { prepareDiskCopies } from "./disk-copies.ts";
import type { Qmp } from "./qmp.ts";

/**
 * A running machine as it is at one moment, on a stock QEMU: its device state by `xen-save-devices-state`, its memory by what /proc tells of
 * the process, its disks by backups that begin at that moment.
 */
export async function prepareCapture(
  qmp: Qmp,
  { pid, pidStartTime, runDirectory, inside, limitable = false }: MachineRecord,
  { origin, copies }: CaptureRequest,
): Promise<Capture> {
  if (inside === undefined) throw new SandboxError("unsupported", "this VM's state cannot be taken");
  const [disks] = await Promise.all([
    prepareDiskCopies(qmp, copies, { limitable, inside: inside.writable }),
    startMemoryThread(),
  ]);
  return {
    cancel: () => disks.cancel(),
    async take() {
      const reading = readDirtyMemory(pid, origin.memoryFile);
      reading.catch(() => {});
      try {
        const state = await saveDeviceState(qmp, origin.state, { runDirectory, inside: inside.run });
        // Not before: with the state QEMU would wait for what the copies have written.
        const [{ done }, memory] = await Promise.all([disks.begin(), reading]);
        // A number that another process has got by now would be another sandbox's memory.
        if ((await startTimeOf(pid)) !== pidStartTime)
          throw new SandboxError("unavailable", "the VM's process ended while its state was taken");
        return { state, memory, copied: done };
      } catch (error) {
        await disks.cancel();
        await reading.then((memory) => memory.release()).catch(() => {});
        throw error;
      }
    },
  };
}
