import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** What people fetch from the internet, made small: a package for pip, one for apt, and a repository for git. */

const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** A wheel `greeting`, and an index of packages at `simple/` (PEP 503). */
export async function makePythonIndex(folder: string): Promise<void> {
  const name = "greeting-1.0-py3-none-any.whl";
  const files = {
    "greeting.py": "print('hello from a wheel')\n",
    "greeting-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
    "greeting-1.0.dist-info/WHEEL":
      "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "greeting-1.0.dist-info/RECORD": "greeting.py,,\n",
  };
  const zip =
    "import json, sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w') as wheel:\n" +
    "    for name, text in json.loads(sys.argv[2]).items(): wheel.writestr(name, text)\n";
  const page = join(folder, "simple/greeting");
  await mkdir(page, { recursive: true });
  await run("python3", ["-c", zip, join(page, name), JSON.stringify(files)]);
  const link = `<a href="${name}#sha256=${digest(await readFile(join(page, name)))}">${name}</a>`;
  await writeFile(join(page, "index.html"), `<!DOCTYPE html><html><body>${link}</body></html>\n`);
}

/** A package `msb-greeting` with a program of that name, and a repository at `apt/` that nobody has signed. */
export async function makeAptRepository(folder: string): Promise<void> {
  const repository = join(folder, "apt");
  await mkdir(repository, { recursive: true });
  const root = await mkdtemp(join(tmpdir(), "msb-deb-"));
  try {
    const control =
      "Package: msb-greeting\nVersion: 1.0\nArchitecture: all\nMaintainer: Nobody <nobody@files.example>\n" +
      "Description: says hello\n";
    await mkdir(join(root, "DEBIAN"));
    await writeFile(join(root, "DEBIAN/control"), control);
    await mkdir(join(root, "usr/bin"), { recursive: true });
    await writeFile(join(root, "usr/bin/msb-greeting"), "#!/bin/sh\necho hello from a package\n", {
      mode: 0o755,
    });
    const deb = join(repository, "msb-greeting.deb");
    await run("dpkg-deb", ["--root-owner-group", "--build", root, deb]);
    const bytes = await readFile(deb);
    const packages = `${control}Filename: ./msb-greeting.deb\nSize: ${bytes.length}\nSHA256: ${digest(bytes)}\n`;
    await writeFile(join(repository, "Packages"), packages);
    const sum = digest(Buffer.from(packages));
    await writeFile(
      join(repository, "Release"),
      `Date: ${new Date().toUTCString()}\nSHA256:\n ${sum} ${packages.length} Packages\n`,
    );
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** A repository `git/NAME.git` of some commits. @returns the last one's name */
export async function makeGitRepository(folder: string, name: string): Promise<string> {
  const work = await mkdtemp(join(tmpdir(), "msb-git-"));
  const git = async (...args: string[]) =>
    (await run("git", ["-C", work, "-c", "user.name=A", "-c", "user.email=a@files.example", ...args])).stdout;
  try {
    await git("init", "--quiet", "--initial-branch=main");
    for (let commit = 1; commit <= 3; commit++) {
      for (let file = 0; file < 20; file++)
        await writeFile(join(work, `file-${file}`), `${commit} ${file}\n`.repeat(file * 20 + 1));
      await git("add", "--all");
      await git("commit", "--quiet", "--message", `Commit ${commit}`);
    }
    await mkdir(join(folder, "git"), { recursive: true });
    await run("git", ["clone", "--quiet", "--bare", work, join(folder, "git", `${name}.git`)]);
    return (await git("rev-parse", "HEAD")).trim();
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
