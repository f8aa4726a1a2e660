import { expect, test } from "vitest";
import { sandboxSpec, shownSpec } from "../../contract/index.ts";
import { admitImported } from "./admit-imported.ts";
import type { SandboxRecord } from "./record.ts";
import { readStoredSandbox } from "./stored-sandbox.ts";

function recordWith(mounts: unknown[], more: Partial<SandboxRecord> = {}) {
  const spec = shownSpec.parse({ ...sandboxSpec.parse({ image: "alpine", mounts }), labels: {}, files: [] });
  const sandbox = {
    id: "1",
    name: "theirs",
    spec,
    imageDigest: "sha256:0",
    state: "running",
    createdAt: "2026-01-01T00:00:00Z",
    timings: [],
    hasRun: true,
    reservedProcesses: 0,
    ...more,
  };
  return { sandbox, journals: {} };
}

const files = (...paths: string[]) => paths.map((path) => ({ path, bytes: 0 }));
const volume = (name: string, target: string) => ({ type: "volume", name, target });

test("a sandbox with nothing of a host comes in, and with volumes that are all in the archive", () => {
  admitImported({ record: recordWith([{ type: "tmpfs", target: "/t" }]), files: [] });
  const record = recordWith([volume("a", "/a"), { type: "tmpfs", target: "/t" }, volume("b", "/b")]);
  admitImported({ record, files: files("state", "volumes/0", "volumes/1") });
});

test("a folder of the host is refused, for reading too", () => {
  for (const readOnly of [false, true]) {
    const record = recordWith([{ type: "folder", source: "/root", target: "/mnt", readOnly }]);
    expect(() => admitImported({ record, files: [] })).toThrow(
      expect.objectContaining({ code: "unsupported", message: expect.stringContaining("'/root'") }),
    );
  }
});

test("a volume of this host is refused, though another is in the archive", () => {
  const record = recordWith([volume("a", "/a"), volume("b", "/b")]);
  expect(() => admitImported({ record, files: files("volumes/0") })).toThrow(
    expect.objectContaining({ code: "unsupported", message: expect.stringContaining("'b'") }),
  );
});

test.each([null, "x", {}, { sandbox: {}, journals: {} }, { ...recordWith([]), journals: { "../x": "" } }])(
  "what says nothing of a sandbox is refused: %j",
  (record) => {
    expect(() => admitImported({ record, files: [] })).toThrow(
      expect.objectContaining({ code: "invalid_argument" }),
    );
  },
);

test("a process of this host that a record claims to be its VM is not believed", () => {
  const machine = { pid: 1, pidStartTime: "1", runDirectory: "/run", accelerator: "tcg" };
  const record = recordWith([], { machine, uid: 0, ports: [] });
  const { sandbox } = readStoredSandbox(record);
  for (const key of ["machine", "uid", "ports"]) expect(sandbox, key).not.toHaveProperty(key);
});
