import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import type { Sandbox } from "../../src/sdk/index.ts";

const run = promisify(execFile);

/** A file as test/tree-probe sees it, without what may differ: its inode's number, and how many links a folder has. */
export type SeenTree = Map<string, string>;

/** Where a sandbox has the kernel's own file systems. */
export const KERNELS = ["proc", "sys", "dev", "run"];
/** What the platform puts into every sandbox. */
export const PLATFORM = /^etc\/(hostname|hosts|machine-id|resolv\.conf)$/;

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

/** What is compared of a file. Bytes of names as latin1, those of attributes as base64. */
export interface FileFacts {
  type: number | undefined;
  mode: number;
  uid: number;
  gid: number;
  mtime: string;
  size: number;
  device: string | undefined;
  target: string | undefined;
  sha256: string | undefined;
  /** The first name of a file that has several. */
  same: string | undefined;
  xattrs: Record<string, string> | undefined;
}

/** A file in the form in which trees hold it: what is no fact of its type is left out. */
export function seenFile({ type, mode, uid, gid, size, ...rest }: FileFacts): string {
  return JSON.stringify({
    type: type?.toString(8),
    mode: type === 0o120000 ? undefined : mode.toString(8),
    owner: `${uid}:${gid}`,
    mtime: rest.mtime,
    size: type === 0o040000 ? undefined : size,
    device: rest.device,
    target: rest.target,
    sha256: rest.sha256,
    same: rest.same,
    xattrs: rest.xattrs,
  });
}

function parse(text: string): SeenTree {
  const tree: SeenTree = new Map();
  const names = new Map<number, string>();
  for (const line of text.trimEnd().split("\n")) {
    const { path, links, inode, target, ...facts } = JSON.parse(line);
    const name = Buffer.from(path, "base64").toString("latin1");
    if (name === "." || PLATFORM.test(name)) continue;
    const isOne = facts.type === 0o040000 || links === 1;
    // Names of one file share an inode: the first of them stands for it.
    const same = isOne ? undefined : (names.get(inode) ?? names.set(inode, name).get(inode));
    const bytes = target && Buffer.from(target, "base64").toString("latin1");
    tree.set(name, seenFile({ ...facts, target: bytes, same }));
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
