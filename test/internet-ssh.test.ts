import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PUBLIC_ADDRESS, PUBLIC_ADDRESS_6 } from "./internet.ts";
import { decided, possible, World } from "./internet-world.ts";

/** ssh from a sandbox to a real server. Needs root. */

let world: World;
let key: string;
beforeAll(async () => {
  if (!possible) return;
  world = await World.open("inet-ssh");
  key = await serveSsh(world);
});
afterAll(() => world?.[Symbol.asyncDispose]());

const TIMEOUT_MS = 240_000;
const run = promisify(execFile);

/**
 * Starts dropbear on port 22. It looks for who may log in in the user's home, and that is this machine's root: so it gets one of its own, in
 * a mount namespace. @returns a client's key
 */
async function serveSsh({ internet }: World): Promise<string> {
  const file = (name: string) => join(internet.folder, name);
  await run("dropbearkey", ["-t", "ed25519", "-f", file("host-key")]);
  await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", file("client-key")]);
  await writeFile(file("shared"), "from the server\n");
  const script = `
    mount -t tmpfs -o mode=700 none /root
    mkdir -m 700 /root/.ssh
    cp "$1/client-key.pub" /root/.ssh/authorized_keys
    cp "$1/shared" /root/shared
    echo ready
    exec dropbear -F -E -s -r "$1/host-key" -p 22 2>/dev/null`;
  await internet.serve(["unshare", "--mount", "sh", "-ec", script, "sh", internet.folder]);
  return readFile(file("client-key"), "utf8");
}

test.skipIf(!possible)(
  "ssh runs commands and carries much both ways, until a rule denies it",
  async () => {
    await using sandbox = await world.create({ scope: "public" });
    await sandbox.files.write("/root/key", key, { mode: 0o600 });
    const shell = (script: string) => sandbox.shell(script, { timeoutMs: TIMEOUT_MS });
    const ssh = "ssh -i /root/key -o StrictHostKeyChecking=no -o LogLevel=ERROR";
    for (const host of ["root@www.example", `root@${PUBLIC_ADDRESS_6}`])
      expect(await shell(`${ssh} ${host} 'cat shared; echo $((6 * 7)) >&2; exit 3'`)).toMatchObject({
        exitCode: 3,
        stdout: "from the server\n",
        stderr: "42\n",
      });
    const sum = "sha256sum | cut -c1-64";
    const both = await shell(
      `head -c 3000000 /dev/urandom >/tmp/sent; cat /tmp/sent | ${sum}; ${ssh} root@www.example cat </tmp/sent | ${sum}`,
    );
    const [sent, back] = both.stdout.trim().split("\n");
    expect(sent).toMatch(/^[0-9a-f]{64}$/);
    expect(back).toBe(sent);

    const rule = "deny egress public tcp:22";
    await sandbox.network.update({ rules: [rule] });
    expect(await shell(`${ssh} -4 root@www.example true`)).toMatchObject({
      exitCode: 255,
      stderr: expect.stringContaining("Connection refused"),
    });
    await decided(sandbox, { protocol: "tcp", address: PUBLIC_ADDRESS, port: 22, allowed: false, rule });
  },
  TIMEOUT_MS,
);
