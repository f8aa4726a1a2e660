import { execFile } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Sandbox } from "../src/sdk/index.ts";
import { makeGitRepository } from "./internet/packages.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** Real programs on a folder of the host: git, and trees of many files that tar and rsync carry both ways. */

/** In the tree that is carried. `MSB_TEST_FILES=20000` takes long without KVM, where a file is some milliseconds each way. */
const FILES = Number(process.env.MSB_TEST_FILES ?? 1_000);
const TIMEOUT_MS = 600_000 + FILES * 100;
const run = promisify(execFile);

let driver: SandboxDriver;
let base: string;
beforeAll(async () => {
  driver = await SandboxDriver.open("programs", { image: false });
  await driver.importImage("tools");
  base = `${driver.home}-host`;
  await mkdir(base, { recursive: true });
});
afterAll(async () => {
  await driver?.[Symbol.asyncDispose]();
  await rm(base, { recursive: true, force: true });
});

/** A sandbox with a folder of the host on /srv. */
async function withFolder(name: string): Promise<{ source: string; sandbox: Sandbox }> {
  const source = join(base, name);
  await mkdir(source);
  const mounts = [{ type: "folder" as const, source, target: "/srv" }];
  return { source, sandbox: await driver.create({ image: "msb/tools", memoryMiB: 512, mounts }) };
}

async function shell(sandbox: Sandbox, script: string): Promise<string> {
  const { exitCode, stdout, stderr } = await sandbox.shell(script, { timeoutMs: TIMEOUT_MS });
  if (exitCode !== 0) throw new Error(`${script}\nended with ${exitCode}: ${stderr}`);
  return stdout;
}

test(
  "git clones, commits and packs on a folder, and its repositories are whole for both sides",
  async () => {
    const { source, sandbox } = await withFolder("git");
    await using _ = sandbox;
    const head = await makeGitRepository(source, "project");
    const made = await shell(
      sandbox,
      `set -e
       git config --global user.name A; git config --global user.email a@files.example
       # With hard links to the objects, and with a pack of its own.
       git clone -q /srv/git/project.git /srv/linked
       git clone -q --no-local /srv/git/project.git /srv/packed
       git init -q -b main /srv/fresh
       for repository in linked packed fresh; do
         cd /srv/$repository
         for i in $(seq 8); do echo $repository $i >made-$i; done
         git add --all
         git commit -q -m 'Made in the sandbox'
         git mv made-1 moved
         git commit -q -m 'Moved in the sandbox'
       done
       git -C /srv/packed push -q origin HEAD:pushed
       git -C /srv/linked gc -q
       for repository in linked packed fresh git/project.git; do
         git -C /srv/$repository fsck --strict >&2
         git -C /srv/$repository rev-parse HEAD
       done
       git -C /srv/linked status --porcelain`,
    );
    const heads = made.trim().split("\n");
    expect(heads).toHaveLength(4);
    expect(heads[3]).toBe(head);
    const git = async (repository: string, ...args: string[]) =>
      (await run("git", ["-c", "safe.directory=*", "-C", join(source, repository), ...args])).stdout;
    for (const [i, repository] of ["linked", "packed", "fresh", "git/project.git"].entries()) {
      expect((await git(repository, "rev-parse", "HEAD")).trim()).toBe(heads[i]);
      expect(await git(repository, "fsck", "--strict")).toBe("");
    }
    for (const repository of ["linked", "packed", "fresh"]) {
      expect(await git(repository, "status", "--porcelain")).toBe("");
      expect(await readFile(join(source, repository, "moved"), "utf8")).toBe(`${repository} 1\n`);
    }
    // And what the host commits, the sandbox sees.
    await writeFile(join(source, "fresh/host"), "from the host\n");
    await git("fresh", "add", "--all");
    await git("fresh", "-c", "user.name=B", "-c", "user.email=b@files.example", "commit", "-qm", "Host");
    const log = await shell(sandbox, "cd /srv/fresh && git fsck --strict && git log --format=%s | cat");
    expect(log).toBe("Host\nMoved in the sandbox\nMade in the sandbox\n");
  },
  TIMEOUT_MS,
);

/** Makes a tree of N files: contents and modes follow from their numbers, names are of all kinds. */
const MAKE_TREE = `
import hashlib, os, sys
root, count = sys.argv[1], int(sys.argv[2])
for i in range(count):
    folder = f"{root}/{i % 40:02}/ä {i % 3}" if i % 5 == 0 else f"{root}/{i % 40:02}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{i}", "wb") as file:
        file.write(hashlib.sha256(str(i).encode()).digest() * (i % 50))
        os.fchmod(file.fileno(), 0o600 | (i * 31 % 0o100))
    if i % 100 == 0:
        os.symlink(f"../{i}", f"{folder}/link to {i}")
`;

/** Everything about a tree that both sides see alike, as one sum; and how many files it has. */
const SUM_TREE = `
import hashlib, os, stat, sys
total, files = hashlib.sha256(), 0
for folder, folders, names in os.walk(sys.argv[1]):
    folders.sort()
    for name in sorted(names):
        path = f"{folder}/{name}"
        seen = os.lstat(path)
        link = stat.S_ISLNK(seen.st_mode)
        data = os.readlink(path).encode() if link else open(path, "rb").read()
        mode = 0 if link else seen.st_mode
        relative = os.path.relpath(path, sys.argv[1])
        total.update(repr((relative, mode, 0 if link else int(seen.st_mtime), hashlib.sha256(data).hexdigest())).encode())
        files += not link
print(files, total.hexdigest())
`;

test(
  `a tree of ${FILES} files is equal after it went through a folder, both ways`,
  async () => {
    const { source, sandbox } = await withFolder("tree");
    await using _ = sandbox;
    await sandbox.files.write("/sum.py", SUM_TREE);
    await sandbox.files.write("/make.py", MAKE_TREE);
    await shell(sandbox, `python3 /make.py /root/tree ${FILES}`);
    const sum = await shell(sandbox, "python3 /sum.py /root/tree");
    expect(sum).toMatch(new RegExp(`^${FILES} [0-9a-f]{64}\n$`));
    const onHost = async (tree: string) =>
      (await run("python3", ["-c", SUM_TREE, join(source, tree)])).stdout;
    await shell(sandbox, "tar -C /root -c tree | tar -C /srv -x --no-same-owner -p");
    expect(await onHost("tree")).toBe(sum);
    // What the host has made is what the sandbox reads.
    await run("cp", ["-a", join(source, "tree"), join(source, "back")]);
    await shell(sandbox, "tar -C /srv -c back | tar -C /root -x");
    expect(await shell(sandbox, "python3 /sum.py /root/back")).toBe(sum);
    // rsync finds nothing to do, and carries what is changed.
    const rsync = "rsync -a --delete --no-owner --no-group --itemize-changes";
    expect(await shell(sandbox, `${rsync} --dry-run /root/tree/ /srv/tree/`)).toBe("");
    await shell(
      sandbox,
      "echo changed >/root/tree/02/2; rm -r /root/tree/01; mkdir /root/tree/new; echo new >/root/tree/new/f",
    );
    const carried = await shell(sandbox, `${rsync} /root/tree/ /srv/tree/`);
    expect(carried).toContain(">f.st...... 02/2\n");
    expect(await onHost("tree")).toBe(await shell(sandbox, "python3 /sum.py /root/tree"));
  },
  TIMEOUT_MS,
);
