import { get } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { allMetrics, type Sandbox, type SandboxMetrics } from "../src/sdk/index.ts";
import { SandboxDriver, until } from "./sandbox-driver.ts";

const MIB = 1024 ** 2;

/** What a sandbox uses, as its own kernel and its host count it. */
describe("metrics", () => {
  let driver: SandboxDriver;
  let sandbox: Sandbox;
  beforeAll(async () => {
    driver = await SandboxDriver.open("metrics");
    sandbox = await driver.create({ name: "measured", network: { scope: "none" } });
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  const guest = async (): Promise<NonNullable<SandboxMetrics["guest"]>> => {
    const metrics = await sandbox.metrics();
    expect(metrics.guest).toBeDefined();
    return metrics.guest!;
  };

  test("have the size of the VM, and no network", async () => {
    const metrics = await sandbox.metrics();
    expect(metrics).toMatchObject({ name: "measured", cpus: 1, health: "responsive" });
    expect(metrics.uptimeMs).toBeGreaterThan(0);
    const { memory, disk, network } = metrics.guest!;
    expect(memory.totalBytes).toBeGreaterThan(128 * MIB);
    expect(memory.totalBytes).toBeLessThan(256 * MIB);
    expect(memory.usedBytes + memory.availableBytes).toBe(memory.totalBytes);
    expect(disk.totalBytes).toBeGreaterThan(3_000 * MIB);
    expect(network).toEqual({ receivedBytes: 0, sentBytes: 0 });
    expect(metrics.host.privateBytes).toBeGreaterThan(MIB);
    expect(metrics.host.residentBytes).toBeGreaterThanOrEqual(metrics.host.privateBytes);
  });

  test("follow processes, CPU time and pressure", async () => {
    const before = await sandbox.metrics();
    expect(before.guest!.processes).toBe(0);
    const work = sandbox.shell("for i in 1 2 3; do while :; do :; done & done; wait");
    work.catch(() => {});
    await until(async () => (await guest()).processes === 4, "four processes run");
    await until(async () => (await guest()).cpuMs > before.guest!.cpuMs + 500, "they use the CPU");
    const { cpu } = (await guest()).pressure;
    expect(cpu.some.totalMs).toBeGreaterThan(before.guest!.pressure.cpu.some.totalMs);
    expect((await sandbox.metrics()).host.cpuMs).toBeGreaterThan(before.host.cpuMs);
    await sandbox.shell("kill -9 -1");
    await work.catch(() => {});
    await until(async () => (await guest()).processes === 0, "they are gone");
  });

  test("follow memory and disk", async () => {
    const before = await sandbox.metrics();
    await sandbox.shell(
      "dd if=/dev/zero of=/file bs=1M count=40 2>/dev/null; sync; mkdir -p /m; mount -t tmpfs none /m; dd if=/dev/zero of=/m/file bs=1M count=40 2>/dev/null",
    );
    const after = await sandbox.metrics();
    expect(after.guest!.disk.usedBytes - before.guest!.disk.usedBytes).toBeGreaterThanOrEqual(40 * MIB);
    expect(after.guest!.memory.usedBytes - before.guest!.memory.usedBytes).toBeGreaterThan(30 * MIB);
    expect(after.host.diskWrittenBytes - before.host.diskWrittenBytes).toBeGreaterThanOrEqual(40 * MIB);
    await sandbox.shell("umount /m; rm /file");
  });

  test("tell of each volume that is written to, and of no other", async () => {
    expect((await guest()).volumes).toEqual([]);
    await driver
      .create({ mounts: [{ type: "volume", name: "read", target: "/r" }] })
      .then((box) => box.remove({ force: true }));
    const writer = await driver.create({
      mounts: [
        { type: "volume", name: "read", target: "/r", readOnly: true },
        { type: "volume", name: "idle", target: "/z" },
        { type: "volume", name: "busy", target: "/b" },
      ],
    });
    await writer.shell("dd if=/dev/zero of=/b/file bs=1M count=40 2>/dev/null; sync");
    const { volumes } = (await writer.metrics()).guest!;
    expect(volumes.map(({ name, target }) => [name, target])).toEqual([
      ["idle", "/z"],
      ["busy", "/b"],
    ]);
    const [idle, busy] = volumes;
    expect(busy!.usedBytes - idle!.usedBytes).toBeGreaterThanOrEqual(40 * MIB);
    expect(busy!.availableBytes).toBeLessThan(idle!.availableBytes);
    expect(busy!.totalBytes).toBeGreaterThan(3_000 * MIB);
    await writer.remove({ force: true });
  });

  test("of one that does not answer are its host's", async () => {
    const asleep = await driver.create({ name: "asleep" });
    const others = new Set(await driver.vmPids());
    expect(others.size).toBe(2);
    for (const pid of others) process.kill(pid, "SIGSTOP");
    try {
      const metrics = await asleep.metrics();
      expect(metrics.guest).toBeUndefined();
      expect(metrics.host.residentBytes).toBeGreaterThan(MIB);
    } finally {
      for (const pid of others) process.kill(pid, "SIGCONT");
    }
    expect((await asleep.exec("true")).exitCode).toBe(0);
    await asleep.remove({ force: true });
  });

  test("of all are in msb stats, and at /metrics for Prometheus", async () => {
    expect((await allMetrics({ connection: driver.connection })).map(({ name }) => name)).toEqual([
      "measured",
    ]);
    const { stdout } = await driver.msb(["stats"]);
    expect(stdout).toMatch(/^NAME .*\nmeasured +\d+(\.\d)? % +\d+(\.\d)? MiB +\d+ MiB /);
    const answer = await new Promise<{ type: string | undefined; text: string }>((resolve, reject) => {
      get({ socketPath: join(driver.home, "run/daemon.sock"), path: "/metrics" }, (response) => {
        response.setEncoding("utf8");
        let text = "";
        response.on("data", (chunk) => {
          text += chunk;
        });
        response.on("end", () => resolve({ type: response.headers["content-type"], text }));
      }).on("error", reject);
    });
    expect(answer.type).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(answer.text).toMatch(/^microsandbox_sandbox_up\{id="[0-9a-f]+",name="measured"\} 1$/m);
    expect(answer.text).toMatch(/^microsandbox_sandbox_cpu_seconds_total\{.*\} \d+(\.\d+)?$/m);
  });
});
