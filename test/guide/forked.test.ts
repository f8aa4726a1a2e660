import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Sandbox } from "../../src/sdk/index.ts";
import { SandboxDriver } from "../sandbox-driver.ts";

/** The programs of docs/states.md, in sandboxes that were forked. */
let driver: SandboxDriver;
let page: string;
beforeAll(async () => {
  driver = await SandboxDriver.open("forked");
  await driver.importImage("python");
  page = await readFile(new URL("../../docs/states.md", import.meta.url), "utf8");
});
afterAll(() => driver?.[Symbol.asyncDispose]());

/** The one block in that language. */
function program(language: string): string {
  const [block, ...more] = page.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "gm"));
  expect(more).toEqual([]);
  return block![1]!;
}

/** Answers with a number that is drawn as the page says, and with what everybody draws. */
const ASKED = `
everybodys = random.Random()
draw()
print("up", flush=True)
while True:
    open("/tmp/ask").read()
    with open("/tmp/answer.new", "w") as file:
        file.write(f"{draw()} {everybodys.getrandbits(64)}")
    os.rename("/tmp/answer.new", "/tmp/answer")
`;
const ASK = "echo >/tmp/ask; until [ -e /tmp/answer ]; do :; done; cat /tmp/answer; rm /tmp/answer";

test("a program that looks at the generation draws what its copies do not", async () => {
  await using parent = await driver.create({ image: "msb/python" });
  await parent.files.write("/asked.py", program("python") + ASKED);
  await parent.shell(
    "mkfifo /tmp/ask; python3 /asked.py >/tmp/up 2>&1 & until grep -q up /tmp/up; do :; done",
  );
  const children = await parent.fork({ count: 2 });
  const drawn: string[][] = [];
  for (const sandbox of [parent, ...children]) drawn.push((await sandbox.shell(ASK)).stdout.split(" "));
  expect(new Set(drawn.map(([own]) => own)).size).toBe(3);
  // Without looking they would have drawn the same.
  expect(new Set(drawn.map(([, everybodys]) => everybodys)).size).toBe(1);
  await removed(children);
});

test("a hook renews the keys of an SSH server, which reads them when it goes on", async () => {
  await using parent = await driver.create({ image: "msb/python" });
  const hook = "/etc/msb/on-restore.d/10-ssh-host-keys";
  await parent.shell("mkdir -p /etc/msb/on-restore.d");
  await parent.files.write(hook, program("sh"), { mode: 0o755 });
  // A server and its tool, as far as the hook knows them.
  const keygen = "#!/bin/sh\\nhead -c 16 /dev/urandom | md5sum >/etc/ssh/ssh_host_key\\n";
  await parent.shell(`
    mkdir -p /etc/ssh; printf '${keygen}' >/usr/local/bin/ssh-keygen; chmod 755 /usr/local/bin/ssh-keygen; ssh-keygen
    (trap 'cp /etc/ssh/ssh_host_key /tmp/served; echo >/tmp/again' HUP; echo >/tmp/serves; while :; do sleep 0.01; done) >/dev/null 2>&1 &
    echo $! >/run/sshd.pid; until [ -e /tmp/serves ]; do :; done`);
  const children = await parent.fork({ count: 2 });
  const served =
    "until [ -e /tmp/again ]; do :; done; cmp /tmp/served /etc/ssh/ssh_host_key && cat /tmp/served";
  const keys = [(await parent.shell("cat /etc/ssh/ssh_host_key")).stdout];
  for (const child of children) keys.push((await child.shell(served)).stdout);
  expect(keys.map((key) => key.length)).toEqual(keys.map(() => 36));
  expect(new Set(keys).size).toBe(3);
  await removed(children);
});

async function removed(sandboxes: Sandbox[]): Promise<void> {
  for (const sandbox of sandboxes) await sandbox.remove({ force: true });
}
