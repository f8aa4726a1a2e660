import { mkdir, mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { SandboxContext } from "./context.ts";
import { disksAsTheyAre } from "./disk-marks.ts";
import type { SandboxRecord } from "./record.ts";
import { type Suspension, wakeSandbox } from "./suspension.ts";

/** A suspended sandbox whose waking fails: what becomes of it depends on its disks, which are real files here. */

const ID = "0123456789ab";
let folder: string;
let disk: string;
let context: SandboxContext;
let done: string[];
let now: Partial<SandboxRecord>;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "msb-suspension-"));
  disk = join(folder, ID, "disk", "upper.qcow2");
  await mkdir(join(folder, ID, "disk"), { recursive: true });
  await mkdir(join(folder, ID, "base"));
  await writeFile(disk, "as it was");
  context = {
    paths: { sandboxes: folder },
    states: { get: async () => ({ id: "state" }) },
    uids: { acquire: () => 100_001 },
  } as unknown as SandboxContext;
  done = [];
  now = { id: ID, suspendedIn: "state", reason: "it was idle", spec: { mounts: [] } as never };
});
afterEach(() => rm(folder, { recursive: true }));

/** Wakes it. @param launch what its VM does before that fails */
function wake(launch: () => Promise<unknown>): Promise<void> {
  const act = (what: string) => async () => void done.push(what);
  const kept = { now, save: () => done.push("saved") };
  const parts = {
    context,
    kept,
    network: { close: act("network closed"), adopt: act("network waits") },
    vm: {
      launch: async () => {
        kept.now = { ...kept.now, machine: { pid: 1 } as never };
        await launch();
        throw new Error("it could not go on");
      },
      release: () => ({ kill: act("killed") }),
      forget: () => done.push("forgotten"),
      giveUp: async (reason: string) => void done.push(`failed, ${kept.now.reason ?? ""}: ${reason}`),
    },
  };
  return wakeSandbox(parts as unknown as Suspension);
}

const LEFT = ["killed", "forgotten", "saved", "network closed", "network waits"];
const FAILED =
  "failed, : a VM that was given up had written to its disks, which its memory does not fit any more";

test("is as it was before if that VM has written nothing: without a VM, and its network waits for the next", async () => {
  await expect(wake(async () => {})).rejects.toThrow("it could not go on");
  expect(done).toEqual(LEFT);
});

test("has failed, for that reason, if that VM has written to its disks", async () => {
  const waking = wake(() => writeFile(disk, "as it is!"));
  await expect(waking).rejects.toMatchObject({ code: "internal", message: expect.stringContaining("fit") });
  expect(done).toEqual(["killed", FAILED]);
});

test("has failed too if an earlier daemon died with that VM", async () => {
  now.wakingOn = await disksAsTheyAre(context, now as SandboxRecord);
  now.machine = { pid: 1 } as never;
  await writeFile(disk, "as it is!");
  await expect(wake(async () => {})).rejects.toMatchObject({ details: { changed: expect.any(String) } });
  expect(done).toEqual([FAILED]);
});

test("is as it was before though time stamps have changed while it had no VM", async () => {
  now.wakingOn = await disksAsTheyAre(context, now as SandboxRecord);
  await utimes(disk, 1, 1);
  await expect(wake(async () => {})).rejects.toThrow("it could not go on");
  expect(done).toEqual(LEFT);
});
