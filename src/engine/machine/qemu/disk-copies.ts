import { randomBytes } from "node:crypto";
import { basename } from "node:path";
import { SandboxError } from "../../../contract/index.ts";
import type { DiskCopy } from "../machine.ts";
import { topNode } from "./arguments.ts";
import type { Qmp, QmpEvent } from "./qmp.ts";

/**
 * Copies of a machine's disks as they are at one moment, made by QEMU while the guest runs on (`blockdev-backup`: what the guest is about to
 * write over is copied first). Nothing of the machine's own disks changes, whatever happens meanwhile.
 */

const COPY_TIMEOUT_MS = 30 * 60_000;

/** Those of a daemon that died in the middle may still be there. */
const newNode = () => `copy-${randomBytes(4).toString("hex")}`;

export interface DiskCopies {
  /** Fixes the moment. @returns what resolves when all is copied */
  begin(): Promise<{ done: Promise<void> }>;
  cancel(): Promise<void>;
}

/** @param inside the writable folder as QEMU sees it */
export async function prepareDiskCopies(
  qmp: Qmp,
  copies: readonly DiskCopy[],
  { limitable, inside }: { limitable: boolean; inside: string },
): Promise<DiskCopies> {
  const jobs = copies.map((copy) => ({ ...copy, node: newNode() }));
  const nodes = jobs.flatMap(({ node }) => [node, `${node}-file`]);
  const cancel = async () => {
    for (const node of nodes) await qmp.execute("blockdev-del", { "node-name": node }).catch(() => {});
  };
  try {
    await Promise.all(
      jobs.flatMap(({ node, file, what }) => {
        const filename = `${inside}/${basename(file)}`;
        const source = {
          driver: "file",
          locking: "off",
          "node-name": `${node}-file`,
          filename,
          discard: "unmap",
        };
        const disk = { driver: what === "own" ? "qcow2" : "raw", "node-name": node, file: `${node}-file` };
        // Answered in order: the second finds the first.
        return [qmp.execute("blockdev-add", source), qmp.execute("blockdev-add", disk)];
      }),
    );
  } catch (error) {
    await cancel();
    throw error;
  }
  const actions = jobs.map(({ node, role, what }) => ({
    type: "blockdev-backup",
    data: {
      "job-id": node,
      device: topNode(role, limitable),
      target: node,
      sync: what === "own" ? "top" : "full",
    },
  }));
  return {
    cancel,
    async begin(): Promise<{ done: Promise<void> }> {
      if (jobs.length === 0) return { done: Promise.resolve() };
      const ended = whenEnded(
        qmp,
        jobs.map(({ node }) => node),
      );
      try {
        await qmp.execute("transaction", { actions });
      } catch (error) {
        ended.cancel();
        throw error;
      }
      const done = ended.promise.finally(cancel);
      done.catch(() => {});
      return { done };
    },
  };
}

/** Resolves when all these jobs have ended well. */
function whenEnded(qmp: Qmp, jobs: readonly string[]): { promise: Promise<void>; cancel(): void } {
  const left = new Set(jobs);
  let cancel = () => {};
  const promise = new Promise<void>((resolve, reject) => {
    const finish = (error?: SandboxError) => {
      clearTimeout(timer);
      unsubscribe();
      if (error === undefined) resolve();
      else reject(error);
    };
    const timer = setTimeout(
      () =>
        finish(
          new SandboxError("timeout", `QEMU did not copy a disk within ${COPY_TIMEOUT_MS / 60_000} minutes`),
        ),
      COPY_TIMEOUT_MS,
    );
    const unsubscribe = qmp.onEvent((event) => {
      const ended = endOf(event);
      if (ended === undefined || !left.delete(ended.job)) return;
      if (ended.error !== undefined)
        finish(new SandboxError("internal", `QEMU could not copy a disk: ${ended.error}`));
      else if (left.size === 0) finish();
    });
    void qmp.closed.then(() =>
      finish(new SandboxError("unavailable", "QEMU went away before its disks were copied")),
    );
    cancel = () => finish(new SandboxError("cancelled", "the copy was not begun"));
  });
  promise.catch(() => {});
  return { promise, cancel };
}

/** @param data a guest's word, should it own its VMM */
function endOf({ event, data }: QmpEvent): { job: string; error?: string } | undefined {
  if (event !== "BLOCK_JOB_COMPLETED" && event !== "BLOCK_JOB_CANCELLED") return undefined;
  const job = String(data.device);
  if (event === "BLOCK_JOB_CANCELLED") return { job, error: "it was cancelled" };
  return data.error === undefined ? { job } : { job, error: String(data.error) };
}
