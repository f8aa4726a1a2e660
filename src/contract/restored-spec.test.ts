import { expect, test } from "vitest";
import { restoredSpec } from "./restored-spec.ts";
import { sandboxSpec, shownSpec } from "./sandbox.ts";
import { restoreRequest } from "./snapshots.ts";

const stored = shownSpec.parse({
  ...sandboxSpec.parse({
    image: "msb/python",
    memoryMiB: 512,
    env: { A: "1", B: "2" },
    labels: { team: "red" },
    network: { ports: [{ guest: 80, host: 8080 }] },
    autoRemove: true,
  }),
  files: [{ path: "/etc/a", bytes: 1, mode: 0o644 }],
});

test("without changes it is the stored one's, but for the files that are in its disk", () => {
  const { changes } = restoreRequest.parse({ changes: {} });
  expect(restoredSpec(stored, changes)).toEqual({ ...stored, files: [] });
  expect(restoredSpec(stored)).toEqual({ ...stored, files: [] });
});

test("variables and labels are added, all else is replaced", () => {
  const { changes } = restoreRequest.parse({
    changes: { env: { B: "3", C: "4" }, labels: { run: "7" }, network: {}, autoRemove: false },
  });
  expect(restoredSpec(stored, changes)).toMatchObject({
    memoryMiB: 512,
    env: { A: "1", B: "3", C: "4" },
    labels: { team: "red", run: "7" },
    network: { scope: "public", ports: [] },
    autoRemove: false,
  });
});

test("a network neither comes nor goes", () => {
  const none = restoreRequest.parse({ changes: { network: { scope: "none" } } }).changes;
  const some = restoreRequest.parse({ changes: { network: { scope: "public" } } }).changes;
  const alone = restoredSpec({ ...stored, network: { ...stored.network, scope: "none" } });
  for (const attempt of [() => restoredSpec(stored, none), () => restoredSpec(alone, some)])
    expect(attempt).toThrowError(expect.objectContaining({ code: "invalid_argument" }));
});
