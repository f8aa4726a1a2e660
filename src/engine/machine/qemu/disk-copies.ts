import { randomBytes } from "node:crypto";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SandboxError } from "../../../contract/index.ts";
import type { DiskCopy } from "../machine.ts";
import { topNode } from "./arguments.ts";
import type { Qmp, QmpEvent } from "./qmp.ts";

/**
 * Copies of a machine's disks as they are at one moment, made by QEMU while the guest runs on (`blockdev-backup`: what the guest is about to
 * write over is copied first). Nothing of the machine's own disks changes, whatever happens meanwhile.
 */

const COPY_TIMEOUT_MS = 30 * 60_000;
/** A copy that does not end stays; it is in nobody's way. */
const CANCEL_TIMEOUT_MS = 5_000;
const POLL_MS = 5;

/** Those of a daemon that died in the middle may still be there. */
const newNode = () => `copy-${randomBytes(4).toString("hex")}`;
const COPY_NODE = /^copy-[0-9a-f]{8}(-file)?$/;

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
      jobs.flatMap(({ node, file }) => {
        const filename = `${inside}/${basename(file)}`;
        const source = {
          driver: "file",
          locking: "off",
          "node-name": `${node}-file`,
          filename,
          discard: "unmap",
        };
        const disk = { driver: "qcow2", "node-name": node, file: `${node}-file` };
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

/** Ends copies that nobody waits for: their daemon has died. */
export async function endDiskCopies(qmp: Qmp): Promise<void> {
  const deadline = Date.now() + CANCEL_TIMEOUT_MS;
  for (;;) {
    const jobs = await namesIn(qmp, "query-block-jobs", "device");
    if (jobs.length === 0 || Date.now() > deadline) break;
    for (const job of jobs)
      await qmp.execute("block-job-cancel", { device: job, force: true }).catch(() => {});
    await sleep(POLL_MS);
  }
  const nodes = await namesIn(qmp, "query-named-block-nodes", "node-name");
  // A disk is let go of before its file.
  nodes.sort((a, b) => Number(a.endsWith("-file")) - Number(b.endsWith("-file")));
  for (const node of nodes) await qmp.execute("blockdev-del", { "node-name": node }).catch(() => {});
}

/** @returns those of ours */
async function namesIn(qmp: Qmp, command: string, key: string): Promise<string[]> {
  const list: unknown = await qmp.execute(command);
  if (!Array.isArray(list)) return [];
  return list
    .map((each: unknown) => String((each as Record<string, unknown> | null)?.[key]))
    .filter((name) => COPY_NODE.test(name));
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
