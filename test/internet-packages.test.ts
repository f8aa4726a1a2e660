import { afterAll, beforeAll, expect, test } from "vitest";
import type { Sandbox } from "../src/sdk/index.ts";
import { makeAptRepository, makeGitRepository, makePythonIndex } from "./internet/packages.ts";
import { decided, possible, World } from "./internet-world.ts";

/** What people fetch from the internet with the tools that they use: pip, git, apt. Needs root. */

let world: World;
let head: string;
beforeAll(async () => {
  if (!possible) return;
  world = await World.open("inet-packages");
  const { folder } = world.internet;
  await makePythonIndex(folder);
  await makeAptRepository(folder);
  head = await makeGitRepository(folder, "project");
});
afterAll(() => world?.[Symbol.asyncDispose]());

const TIMEOUT_MS = 300_000;
const shell = (sandbox: Sandbox, script: string) => sandbox.shell(script, { timeoutMs: TIMEOUT_MS });
const INDEX = "//files.example/simple";
/** It keeps to itself why it takes nothing from an index, unless it is asked for more words. */
const PIP =
  "pip download -v -v --trusted-host files.example --disable-pip-version-check --retries 0 --no-deps --dest /tmp";

test.skipIf(!possible)(
  "msb run … pip download fetches a package, and what a rule forbids is refused with its name",
  async () => {
    const run = (rules: string[], index: string) => {
      const flags = rules.flatMap((rule) => ["--net-rule", rule]);
      const file = [
        "--file",
        `/authority.pem=@${world.internet.authority}`,
        "--env",
        "PIP_CERT=/authority.pem",
      ];
      const pip = [...PIP.split(" "), "--index-url", index, "greeting"];
      return world.driver.msb(["run", "--net", "public", ...flags, ...file, "msb/tools", "--", ...pip]);
    };
    const fetched = await run([], `https:${INDEX}`);
    expect(fetched).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("Saved /tmp/greeting-1.0-py3"),
    });
    const rule = "deny egress public tcp:80";
    const refused = await run([rule], `http:${INDEX}`);
    expect(refused.code).not.toBe(0);
    expect(refused.stdout + refused.stderr).toContain(rule);
  },
  TIMEOUT_MS,
);

test.skipIf(!possible)(
  "pip installs from an index over HTTPS, and a name that is denied is no name for it",
  async () => {
    await using sandbox = await world.create({ scope: "public" });
    const pip = `PIP_CERT=/authority.pem ${PIP.replace("download", "install").replace("--dest /tmp", "")}`;
    expect(await shell(sandbox, `${pip} --index-url https:${INDEX} greeting`)).toMatchObject({
      exitCode: 0,
    });
    expect((await shell(sandbox, "python3 -m greeting")).stdout).toBe("hello from a wheel\n");
    const rule = "deny egress domain:files.example";
    await sandbox.network.update({ rules: [rule] });
    const refused = await shell(sandbox, `${pip} --force-reinstall --index-url https:${INDEX} greeting`);
    expect(refused.exitCode).not.toBe(0);
    await decided(sandbox, { kind: "name", name: "files.example", allowed: false, rule });
  },
  TIMEOUT_MS,
);

test.skipIf(!possible)(
  "git clones over HTTP and HTTPS what is whole, and pulls",
  async () => {
    await using sandbox = await world.create({ scope: "public" });
    for (const scheme of ["http", "https"]) {
      const clone = await shell(
        sandbox,
        `git clone -q ${scheme}://files.example/git/project.git /tmp/${scheme} && cd /tmp/${scheme} && git fsck && git rev-parse HEAD`,
      );
      expect(clone).toMatchObject({ exitCode: 0, stdout: `${head}\n` });
    }
    expect(await shell(sandbox, "git -C /tmp/https pull")).toMatchObject({
      exitCode: 0,
      stdout: "Already up to date.\n",
    });
    await sandbox.network.update({ rules: ["deny egress public tcp:443"] });
    expect(await shell(sandbox, "git -C /tmp/https pull")).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining("Failed to connect to files.example port 443"),
    });
  },
  TIMEOUT_MS,
);

test.skipIf(!possible)(
  "apt-get takes its lists and a package from a repository, and says what refuses it",
  async () => {
    await using sandbox = await world.create({ scope: "public" });
    const source = "deb [trusted=yes] http://files.example/apt ./";
    const apt = (command: string) =>
      shell(
        sandbox,
        `rm -f /etc/apt/sources.list.d/*; echo '${source}' >/etc/apt/sources.list; apt-get -q ${command}`,
      );
    expect(await apt("update")).toMatchObject({ exitCode: 0, stderr: "" });
    expect(await apt("install -y msb-greeting")).toMatchObject({ exitCode: 0 });
    expect((await shell(sandbox, "msb-greeting")).stdout).toBe("hello from a package\n");
    const rule = "deny egress public tcp:80";
    await sandbox.network.update({ rules: [rule] });
    const refused = await apt("update -o APT::Update::Error-Mode=any");
    expect(refused.exitCode).toBe(100);
    expect(refused.stderr).toContain("403");
    expect(refused.stderr).toContain(rule);
  },
  TIMEOUT_MS,
);
