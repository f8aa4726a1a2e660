import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Image, type ImageBuildOptions, type Progress, Sandbox } from "../src/sdk/index.ts";
import { buildTar, type TestEntry } from "../src/tar/tar-builder.test-support.ts";
import { SandboxDriver, until } from "./sandbox-driver.ts";

/** Dockerfiles are built in real VMs. What needs none is tested in src/engine/build. */

let driver: SandboxDriver;
beforeAll(async () => {
  driver = await SandboxDriver.open("build");
});
afterAll(() => driver?.[Symbol.asyncDispose]());

let told: Progress[] = [];
async function build(dockerfile: string, files: TestEntry[] = [], options: Partial<ImageBuildOptions> = {}) {
  told = [];
  const context = buildTar([...files, { path: "Dockerfile", data: Buffer.from(dockerfile) }]);
  return await Image.build({
    context: Readable.from([context]),
    // The shape whose template the other tests have.
    memoryMiB: 256,
    connection: driver.connection,
    onProgress: (progress) => told.push(progress),
    ...options,
  });
}

async function run(image: string, script: string): Promise<string> {
  await using sandbox = await driver.create({ image });
  const { exitCode, stdout, stderr } = await sandbox.exec("sh", ["-ec", script]);
  expect([exitCode, stderr]).toEqual([0, ""]);
  return stdout;
}

const output = () => told.map((progress) => progress.output ?? "").join("");

const DOCKERFILE = `
ARG GREETING=hello
FROM msb/base AS build
ARG GREETING
ENV LANG=C.UTF-8
WORKDIR /src
COPY . .
RUN cat name | sed "s/^/$GREETING /" > greeting && rm /etc/os-release && rm -r /home/user && mkdir /home/user && echo new > /home/user/file
RUN --mount=type=cache,target=/cache echo run >> /cache/runs && wc -l < /cache/runs && id -u
USER user
RUN id -un > /tmp/who && pwd >> /tmp/who

FROM msb/base
COPY --from=build --chown=user /src/greeting /tmp/who /data/
RUN ln /data/greeting /data/same && chmod 4755 /usr/bin/busybox && ln -sfn /data /short && mkfifo /data/fifo
VOLUME /var/lib/thing
ENTRYPOINT ["cat"]
CMD ["/data/greeting"]
`;
const FILES: TestEntry[] = [{ path: "name", data: Buffer.from("world\n") }];

test("a multi-stage build runs its steps in VMs, and the image runs", async () => {
  const image = await build(DOCKERFILE, FILES, { tags: ["test/app"], buildArgs: { GREETING: "hi" } });
  expect(image.name).toBe("test/app");
  expect(output()).toMatch(/^1\n0\n/);
  const { stdout, code } = await driver.msb(["run", "test/app"]);
  expect([code, stdout]).toEqual([0, "hi world\n"]);
  await using sandbox = await driver.create({ image: "test/app", entrypoint: [] });
  const look =
    "cat /data/who; stat -c '%n %a %u %h' /data/greeting /usr/bin/busybox; readlink /short; test -p /data/fifo; ls -d /var/lib/thing";
  const { stdout: seen, stderr } = await sandbox.exec("sh", ["-ec", look]);
  expect([seen, stderr]).toEqual([
    "user\n/src\n/data/greeting 644 1000 2\n/usr/bin/busybox 4755 0 1\n/data\n/var/lib/thing\n",
    "",
  ]);
  // Nothing of the build is left but the image: no sandbox, no image between.
  expect(await Sandbox.list({ connection: driver.connection })).toHaveLength(1);
  const names = (await Image.list({ connection: driver.connection })).map(({ name }) => name);
  expect(names.sort()).toEqual(["msb/base", "test/app"]);
});

test("the same build again runs nothing, a changed file only what comes after it, a cache mount goes on", async () => {
  const first = await build(DOCKERFILE, FILES, { tags: ["test/app"], buildArgs: { GREETING: "hi" } });
  expect(output()).toBe("");
  expect(told.filter(({ task }) => task.includes("CACHED"))).toHaveLength(7);
  const [other] = [
    await build(DOCKERFILE, [{ path: "name", data: Buffer.from("you\n") }], {
      buildArgs: { GREETING: "hi" },
    }),
  ];
  expect(output()).toMatch(/^2\n0\n/);
  expect(other.digest).not.toBe(first.digest);
});

test("what a step deletes and replaces of its base is gone and new in the image", async () => {
  await build(
    `FROM msb/base
RUN rm /etc/os-release && rm -r /home/user && mkdir -p /home/user/deep && echo 1 > /home/user/deep/f
RUN rm -r /home/user/deep && echo file > /home/user/deep && echo more >> /etc/group && touch -d @1000 /etc/group`,
    [],
    { tags: ["test/deleted"] },
  );
  expect(
    await run("test/deleted", "ls /etc; cat /home/user/deep; tail -n 1 /etc/group; stat -c %Y /etc/group"),
  ).toBe("group\nhostname\nhosts\nmachine-id\npasswd\nresolv.conf\nshadow\nfile\nmore\n1000\n");
});

test("a step that fails says where, shows what it wrote, and leaves nothing", async () => {
  const failed = build("FROM msb/base\nRUN echo before\nRUN echo to stderr >&2; exit 3", [], {
    tags: ["test/failed"],
  });
  await expect(failed).rejects.toMatchObject({
    code: "invalid_argument",
    message: "Dockerfile, line 3, column 1: the command ended with exit code 3",
  });
  expect(output()).toBe("before\nto stderr\n");
  await expect(build('FROM msb/base\nRUN ["no-such-command"]')).rejects.toMatchObject({
    code: "invalid_argument",
    message: expect.stringMatching(/line 2.*no-such-command/),
  });
  await expect(Image.inspect("test/failed", { connection: driver.connection })).rejects.toMatchObject({
    code: "not_found",
  });
  expect(await Sandbox.list({ connection: driver.connection })).toEqual([]);
  expect(await driver.vmPids()).toEqual([]);
});

test("a build that is cancelled ends its VM", async () => {
  const stop = new AbortController();
  const building = build("FROM msb/base\nRUN echo started && sleep 600", [], {
    signal: stop.signal,
    onProgress: ({ output }) => {
      if (output?.includes("started")) stop.abort();
    },
  });
  await expect(building).rejects.toMatchObject({ code: "cancelled" });
  await until(
    async () => (await Sandbox.list({ connection: driver.connection })).length === 0,
    "its sandbox is gone",
  );
  expect(await driver.vmPids()).toEqual([]);
});

test("the sandbox of a build whose daemon died is removed by the next one", async () => {
  const started = Promise.withResolvers<void>();
  const building = build("FROM msb/base\nRUN echo started && sleep 600", [], {
    onProgress: ({ output }) => {
      if (output?.includes("started")) started.resolve();
    },
  });
  building.catch(() => {});
  await started.promise;
  await driver.killDaemon();
  await expect(building).rejects.toMatchObject({ code: "unavailable" });
  expect(await Sandbox.list({ connection: driver.connection })).toEqual([]);
  expect(await driver.vmPids()).toEqual([]);
});

test("labels of an image bind no sandbox to a build, and may be long", async () => {
  const long = "x".repeat(5000);
  await build(`FROM msb/base\nLABEL msb.build=step long=${long}`, [], { tags: ["test/labels"] });
  await using sandbox = await driver.create({ image: "test/labels" });
  await driver.killDaemon();
  const [kept] = await Sandbox.list({ connection: driver.connection });
  expect(kept).toMatchObject({
    id: sandbox.id,
    info: { state: "running", spec: { labels: { "msb.build": "step", long } } },
  });
});

test("what a step links from its cache into the image stays in both", async () => {
  const dockerfile = `FROM msb/base
RUN --mount=type=cache,target=/store echo 1 > /store/kept
RUN --mount=type=cache,target=/store mkdir /app && echo 2 > /store/new && ln /store/kept /store/new /app/ && ln /app/new /app/same
RUN --mount=type=cache,target=/store cat /store/kept /store/new`;
  await build(dockerfile, [], { tags: ["test/linked"] });
  expect(output()).toBe("1\n2\n");
  expect(
    await run("test/linked", "cat /app/kept /app/new; stat -c %h /app/kept /app/new; test ! -e /store"),
  ).toBe("1\n2\n1\n2\n");
});

test("msb build takes a folder, and says what it refuses with line and column", async () => {
  const folder = join(driver.home, "context");
  await mkdir(join(folder, "src"), { recursive: true });
  await writeFile(join(folder, "src/main"), "main\n");
  await writeFile(join(folder, "secret"), "secret\n");
  await writeFile(join(folder, ".dockerignore"), "*\n!src/**\n");
  const dockerfile = "FROM msb/base\nCOPY src none* /src/\nCOPY . /all/\n";
  await writeFile(join(folder, "Dockerfile"), dockerfile);
  const built = await driver.msb(["build", "-t", "test/folder", folder]);
  expect([built.code, built.stderr]).toEqual([
    0,
    expect.stringContaining('nothing in the context matches "none*"'),
  ]);
  expect(await run("test/folder", "cd /src; find . /all -type f")).toBe("./main\n/all/src/main\n");

  await writeFile(join(folder, "Dockerfile"), `${dockerfile}\n  HEALTHCHECK CMD true\n`);
  const refused = await driver.msb(["build", folder]);
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toMatch(/^msb: .*line 5, column 3: HEALTHCHECK is not supported/m);
});

test("steps have the network that the build is given, or none", async () => {
  await using server = createServer((_, response) => response.end("from the host\n")).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const fetch = `wget -T 20 -q -O /got http://host.microsandbox.internal:${port}/ && cat /got`;
  const network = { rules: [`allow egress host tcp:${port}`] };
  const built = await build(`FROM msb/base\nRUN ${fetch}\nRUN --network=none ls /sys/class/net`, [], {
    network,
  });
  expect(output()).toBe("from the host\nlo\n");
  // What tells a step whom to ask about names is not its layer's.
  const { stdout } = await driver.msb(["run", "--net", "none", built.digest, "ls", "/etc"]);
  expect(stdout).not.toContain("resolv.conf");
});
