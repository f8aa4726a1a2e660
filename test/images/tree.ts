import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import type { Sandbox } from "../../src/sdk/index.ts";

const run = promisify(execFile);

/** A file as test/tree-probe sees it, without what may differ: its inode's number, and how many links a folder has. */
export type SeenTree = Map<string, string>;

/** Where a sandbox has the kernel's own file systems. */
const KERNELS = ["proc", "sys", "dev", "run"];
/** What the platform puts into every sandbox. */
const PLATFORM = /^etc\/(hostname|hosts|machine-id)$/;

/** The tree that a guest sees from its root. */
export async function guestTree(sandbox: Sandbox, probe: string): Promise<SeenTree> {
  const program = await readFile(probe);
  const put = await sandbox.exec("sh", ["-c", "cat > /run/probe && chmod 755 /run/probe"], {
    stdin: program,
    user: "root",
  });
  if (put.exitCode !== 0) throw new Error(`the probe cannot be put into the sandbox: ${put.stderr}`);
  const { exitCode, stdout, stderr } = await sandbox.exec("/run/probe", ["/", ...KERNELS], { user: "root" });
  if (exitCode !== 0) throw new Error(`the probe failed: ${stderr}`);
  return parse(stdout);
}

/** The tree of a folder on this host. */
export async function hostTree(folder: string, probe: string): Promise<SeenTree> {
  const { stdout } = await run(probe, [folder, ...KERNELS], { maxBuffer: 1 << 28 });
  return parse(stdout);
}

function parse(text: string): SeenTree {
  const tree: SeenTree = new Map();
  const names = new Map<number, string>();
  for (const line of text.trimEnd().split("\n")) {
    const { path, type, mode, uid, gid, links, inode, size, mtime, device, target, sha256, xattrs } =
      JSON.parse(line);
    const name = Buffer.from(path, "base64").toString("latin1");
    if (name === "." || PLATFORM.test(name)) continue;
    const isFolder = type === 0o040000;
    const isLink = type === 0o120000;
    // Names of one file share an inode: the first of them stands for it.
    const same =
      isFolder || links === 1 ? undefined : (names.get(inode) ?? names.set(inode, name).get(inode));
    const seen = {
      type: type.toString(8),
      mode: isLink ? undefined : mode.toString(8),
      owner: `${uid}:${gid}`,
      mtime,
      size: isFolder ? undefined : size,
      device,
      target: target && Buffer.from(target, "base64").toString("latin1"),
      sha256,
      same,
      xattrs,
    };
    tree.set(name, JSON.stringify(seen));
  }
  return tree;
}

/** Where two trees differ, path by path; empty if nowhere. `untimed`: paths whose times are not compared. */
export function differences(
  expected: SeenTree,
  actual: SeenTree,
  untimed: RegExp,
): Record<string, [expected: unknown, actual: unknown]> {
  const found: Record<string, [unknown, unknown]> = {};
  for (const path of new Set([...expected.keys(), ...actual.keys()])) {
    const [a, b] = [expected, actual].map((tree) => {
      const seen = tree.get(path);
      if (seen === undefined) return undefined;
      const { mtime, ...rest } = JSON.parse(seen);
      return untimed.test(path) ? rest : { ...rest, mtime };
    });
    if (JSON.stringify(a) !== JSON.stringify(b)) found[path] = [a, b];
  }
  return found;
}
