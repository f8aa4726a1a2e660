import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HOSTILE_LAYERS } from "./hostile-layers.test-support.ts";
import { CLAIMED, type HostileOutcome } from "./hostile-run.test-support.ts";

/**
 * Whatever a stranger's layer is made of, it costs little, is refused by name, and leaves the store as it was. All run in one
 * process that has less memory than a careless reader would need.
 */

const HEAP_MIB = 96;
const GROWN_MIB = 96;
/** Of 256 MiB, the limit where the layer has no end; and the store's own. */
const DISK_MIB = 300;
const DEADLINE_MS = 180_000;

// In memory, where there is such a place: each of the many stores waits for the disk several times.
const SCRATCH = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

const run = promisify(execFile);
const outcomes = new Map<string, HostileOutcome>();
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(SCRATCH, "msb-hostile-"));
  const program = join(import.meta.dirname, "hostile-run.test-support.ts");
  // A small heap has a small nursery, too, unless told: then collecting garbage takes most of the time.
  const heap = [`--max-old-space-size=${HEAP_MIB}`, "--max-semi-space-size=16", "--expose-gc"];
  const options = ["--disable-warning=ExperimentalWarning", ...heap];
  const { stdout } = await run(process.execPath, [...options, program, folder], { timeout: DEADLINE_MS });
  for (const line of stdout.trimEnd().split("\n")) {
    const outcome: HostileOutcome = JSON.parse(line);
    outcomes.set(outcome.name, outcome);
  }
}, DEADLINE_MS);
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.each(HOSTILE_LAYERS)("$name", ({ name, fate, says }) => {
  test(fate, () => {
    const outcome = outcomes.get(name)!;
    expect(outcome).toMatchObject(
      fate === "harmless"
        ? { code: "none" }
        : { code: "invalid_argument", message: expect.stringMatching(says!) },
    );
    if (fate === "refused") expect(outcome.layer).toBe(CLAIMED);
    if (fate === "refused when merged") {
      expect(outcome.digest).toMatch(/^sha256:/);
      expect(outcome.layer).toBe(outcome.digest);
      expect(outcome.message).toContain(outcome.digest);
    }
  });

  test("costs little and leaves nothing", () => {
    const { grownMiB, diskMiB, left } = outcomes.get(name)!;
    expect(grownMiB).toBeLessThan(GROWN_MIB);
    expect(diskMiB).toBeLessThan(DISK_MIB);
    expect(left).toEqual([]);
  });
});

test("nothing was written outside the store", async () => {
  await expect(access("/tmp/hostile-escaped")).rejects.toMatchObject({ code: "ENOENT" });
});
