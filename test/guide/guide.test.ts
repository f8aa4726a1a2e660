import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Snapshot, Volume } from "../../src/sdk/index.ts";
import { ended, type Ran, SandboxDriver } from "../sandbox-driver.ts";
import { commandsOf, type Example, examplesOf, loggedBy, prints } from "./page.ts";

/** What the guide shows is what a reader gets: every example is run as it stands, by a user with an empty home. */

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** A page has dozens of commands, and some of them start six sandboxes. */
const PAGE_TIMEOUT_MS = 300_000;
const NODE = `exec '${process.execPath}' --disable-warning=ExperimentalWarning`;

let driver: SandboxDriver;
let home: string;
beforeAll(async () => {
  driver = await SandboxDriver.open("guide");
  await driver.importImage("python");
  home = await mkdtemp(join(tmpdir(), "msb-guide-"));
  await mkdir(join(home, "bin"));
  await writeFile(join(home, "bin/msb"), `#!/bin/sh\n${NODE} '${ROOT}src/cli/main.ts' "$@"\n`, {
    mode: 0o755,
  });
  // The place that the guide names, wherever this test has put it.
  await symlink(driver.home, join(home, ".microsandbox"));
  await mkdir(join(home, "node_modules/microsandbox"), { recursive: true });
  await writeFile(
    join(home, "node_modules/microsandbox/index.js"),
    `export * from ${JSON.stringify(new URL("../../src/sdk/index.ts", import.meta.url))};\n`,
  );
});
afterAll(async () => {
  await driver?.[Symbol.asyncDispose]();
  if (home !== undefined) await rm(home, { recursive: true, force: true });
});

const pages = ["README.md", ...(await readdir(join(ROOT, "docs"))).map((name) => `docs/${name}`)];

test.each(pages.filter((page) => page.endsWith(".md")))("%s", { timeout: PAGE_TIMEOUT_MS }, async (page) => {
  const examples = examplesOf(await readFile(join(ROOT, page), "utf8"));
  const directory = join(home, "work");
  await mkdir(join(directory, "src"), { recursive: true });
  await writeFile(join(directory, "src/main.py"), "print('main')\n");
  try {
    for (const example of examples) await follow(page, example, directory);
  } finally {
    await rm(directory, { recursive: true });
    const options = { connection: driver.connection };
    await driver.removeAll();
    for (const snapshot of await Snapshot.list(options)) await snapshot.remove();
    await Volume.prune(options);
  }
});

async function follow(page: string, example: Example, directory: string): Promise<void> {
  for (const text of example.before)
    await succeeded(`${page}:${example.line}: ${text}`, shell(text, directory));
  if (example.language === "ts") {
    const file = join(directory, "example.ts");
    await writeFile(file, example.source);
    const { stdout } = await succeeded(`${page}:${example.line}`, shell(`${NODE} ${file}`, directory));
    expect(stdout.split("\n")).toEqual(expect.arrayContaining(loggedBy(example)));
    return;
  }
  for (const command of commandsOf(example)) {
    const what = `${page}:${example.line}: ${command.text}`;
    const { stdout, stderr } = await succeeded(what, shell(command.text, directory));
    if (command.prints === undefined || prints(command.prints, stdout, example.varies)) continue;
    expect.fail(`${what}\nprinted\n${stdout}${stderr}\nand the page says\n${command.prints}`);
  }
}

async function succeeded(what: string, running: Promise<Ran>): Promise<Ran> {
  const { code, stdout, stderr } = await running;
  if (code !== 0) expect.fail(`${what}\nended with ${code}\n${stdout}${stderr}`);
  return { code, signal: null, stdout, stderr };
}

function shell(command: string, cwd: string): Promise<Ran> {
  const env = { ...driver.env, HOME: home, PATH: `${join(home, "bin")}:${process.env.PATH}` };
  return ended(spawn("bash", ["-c", command], { cwd, env, stdio: ["ignore", "pipe", "pipe"] }));
}
