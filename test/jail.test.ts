import { execFile, type StdioOptions } from "node:child_process";
import { once } from "node:events";
import { open, readdir, readFile, readlink, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findQemu } from "../src/engine/machine/qemu/binary.ts";
import { jailCommand } from "../src/engine/machine/qemu/jail.ts";
import { JAIL, prepareJailRoot } from "../src/engine/machine/qemu/jail-root.ts";
import { INFO_FD, launch, logFile } from "../src/engine/machine/qemu/launch.ts";
import type { Sandbox } from "../src/sdk/index.ts";
import { buildGoProgram, type GoProgram } from "./go-program.ts";
import { JailHost, type Report } from "./jail-host.ts";
import { pathWithout } from "./path-without.ts";
import { SandboxDriver, until } from "./sandbox-driver.ts";

const run = promisify(execFile);
const isRoot = process.getuid?.() === 0;
/** Of no sandbox: those begin above. */
const PROBE_UID = 899_999_998;
const NOBODY = 65_534;

/** What goes through in the jail, and why that is no harm. Everything else has to fail. */
const HARMLESS: Record<string, string> = {
  // Where the daemon is root there is no user namespace around QEMU that could forbid another one in it; QEMU's own seccomp
  // filter does (spawn=deny). The probe, which is not QEMU, has no filter.
  "new user namespace": "as root",
};

describe("the jail", () => {
  let probe: GoProgram;
  let host: JailHost;
  beforeAll(async () => {
    [probe, host] = await Promise.all([buildGoProgram("jail-probe"), JailHost.open()]);
  });
  afterAll(async () => {
    await host?.[Symbol.asyncDispose]();
    await probe?.[Symbol.asyncDispose]();
  });

  /** Runs the probe as QEMU is run, by the same code. `user`: who the daemon would be. */
  async function inJail(user: "root" | "nobody"): Promise<Report> {
    const qemu = { ...(await findQemu()), path: probe.path, hash: `probe ${process.pid}` };
    const root = await prepareJailRoot(join(host.folder, "jail"), qemu);
    const { folder, targets } = host;
    const command = jailCommand(
      {
        root,
        mounts: [
          { source: join(folder, "run"), target: JAIL.run, writable: true },
          { source: join(folder, "state"), target: JAIL.state },
          { source: join(folder, "disk"), target: JAIL.rootDisk },
        ],
        uid: user === "root" ? PROBE_UID : undefined,
        kvm: false,
        maxFileBytes: 1024 ** 2,
        maxAddressSpace: 8 * 1024 ** 3,
        infoFd: INFO_FD,
      },
      [
        JSON.stringify({
          ...targets,
          Secrets: [...targets.Secrets, `/proc/1/root${targets.Secrets[0]}`, `/..${targets.Secrets[0]}`],
          ReadOnly: ["/", JAIL.state, JAIL.rootDisk, JAIL.firmware],
          Writable: JAIL.run,
        }),
      ],
    );
    const drop = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "--"];
    const log = logFile(join(folder, "run"));
    await rm(log, { force: true });
    const { child } = await launch(
      user === "nobody" && isRoot ? [...drop, ...command] : command,
      join(folder, "run"),
      true,
    );
    await until(() => (child.exitCode ?? child.signalCode) !== null, "the probe has ended");
    const output = await readFile(log, "utf8");
    expect(child.exitCode, output).toBe(0);
    return JSON.parse(output) as Report;
  }

  /** Attempts that went through although they should not. */
  const escapes = (report: Report) =>
    Object.entries(report.attempts)
      .filter(([, failure]) => failure === null)
      .map(([name]) => name);

  test.runIf(isRoot)("is worth having: outside of it the same attempts go through", async () => {
    const { stdout } = await run(probe.path, [JSON.stringify(host.targets)], {
      maxBuffer: 1024 ** 2,
      env: { SECRET: "1" },
    });
    const report = JSON.parse(stdout) as Report;
    const failed = Object.entries(report.attempts).filter(([, failure]) => failure !== null);
    // Some hosts have no KVM; and what is no mount cannot be remounted.
    expect(failed.filter(([name]) => !/^open \/dev\/kvm$|^remount /.test(name))).toEqual([]);
    expect(report.env).toEqual(["SECRET=1"]);
    expect(report.processes.length).toBeGreaterThan(1);
    expect(report.root).toContain("etc");
  });

  for (const user of ["root", "nobody"] as const) {
    const name = user === "root" ? "made by root" : "made by an ordinary user";
    test.runIf(isRoot || user === "nobody")(`${name} lets nothing of the host through`, async () => {
      const report = await inJail(user);
      expect(escapes(report).filter((e) => user !== "root" || HARMLESS[e] === undefined)).toEqual([]);
      // Not because the probe was lame: it tried them all.
      expect(Object.keys(report.attempts).length).toBeGreaterThan(45);
      expect(report.env.filter((entry) => !entry.startsWith("PWD="))).toEqual([]);
      expect(report.fds).toEqual([0, 1, 2]);
      expect(report.interfaces).toEqual(["lo"]);
      expect(report.processes).toEqual([]);
      expect(report.pid).toBe(1);
      expect(report.hostname).toBe("vm");
      const who = [report.uid, report.gid, ...(report.groups ?? [])];
      if (user === "root") expect(who).toEqual([PROBE_UID, PROBE_UID]);
      else expect(report.uid).not.toBe(0);
    });

    test.runIf(isRoot || user === "nobody")(`${name} holds QEMU's files and nothing else`, async () => {
      const { root } = await inJail(user);
      const ours = ["boot", "dev", "disk", "firmware", "proc", "qemu", "run", "setpriv", "state", "tmp"];
      // Beside them only the libraries that setpriv links.
      expect(root.filter((entry) => !ours.includes(entry) && !/^lib/.test(entry))).toEqual([]);
      expect(root).toEqual(expect.arrayContaining(ours));
    });
  }
});

describe("the QEMU of a running sandbox", () => {
  let driver: SandboxDriver;
  let sandboxes: Sandbox[];
  let pids: number[];
  beforeAll(async () => {
    driver = await SandboxDriver.open("jail");
    sandboxes = [await driver.create(), await driver.create()];
    pids = await driver.vmPids();
    expect(pids).toHaveLength(2);
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  const statusOf = async (pid: number): Promise<Record<string, string>> => {
    const text = await readFile(`/proc/${pid}/status`, "utf8");
    return Object.fromEntries(text.split("\n").map((line) => line.split(/:\s*/, 2)));
  };

  test("has no privileges, no capabilities and a seccomp filter", async () => {
    for (const pid of pids) {
      const status = await statusOf(pid);
      expect(status).toMatchObject({ NoNewPrivs: "1", Seccomp: "2" });
      for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
        // An ordinary user's process has an empty set in a user namespace of its own; its bounding set does not matter there.
        if (set !== "CapBnd" || isRoot) expect([set, Number(`0x${status[set]}`)]).toEqual([set, 0]);
      }
      // No process may be started and no namespace made: `spawn` covers unshare, setns, clone and execve.
      const line = (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0");
      expect(line[line.indexOf("-sandbox") + 1]).toBe(
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
      );
    }
  });

  test.runIf(isRoot)("has a uid and a group of its own, no other sandbox's and not ours", async () => {
    const owners = await Promise.all(
      pids.map(async (pid) => {
        const { Uid, Gid, Groups } = await statusOf(pid);
        expect(Groups).toBe("");
        const ids = [...Uid!.split("\t"), ...Gid!.split("\t")];
        expect(new Set(ids).size).toBe(1);
        return Number(ids[0]);
      }),
    );
    expect(new Set([...owners, 0]).size).toBe(3);
    // Its disk and its sockets are closed to all but that uid.
    for (const { id } of sandboxes) {
      for (const folder of [join("sandboxes", id, "disk"), join("run", id.slice(0, 8))]) {
        const { uid, mode } = await stat(join(driver.home, folder));
        expect([folder, (mode & 0o777).toString(8)]).toEqual([folder, "700"]);
        expect(owners).toContain(uid);
      }
    }
  });

  test("lives in namespaces of its own", async () => {
    for (const kind of ["net", "pid", "mnt", "ipc", "uts"]) {
      const spaces = await Promise.all(
        [...pids, process.pid].map((pid) => readlink(`/proc/${pid}/ns/${kind}`)),
      );
      expect([kind, new Set(spaces).size]).toEqual([kind, 3]);
    }
  });

  test("holds no descriptor of whoever started the daemon", async () => {
    await using other = await SandboxDriver.open("stray");
    await other.killDaemon();
    const stray = await open("/etc/hostname");
    const stdio: StdioOptions = Array.from({ length: 60 }, (_, fd) => (fd === 59 ? stray.fd : "ignore"));
    const start = other.startMsb(["daemon", "start"], {}, stdio);
    await once(start, "close");
    await stray.close();
    await using _sandbox = await other.create();
    for (const pid of [...pids, ...(await other.vmPids())]) {
      const fds = await readdir(`/proc/${pid}/fd`);
      const paths = await Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => "")));
      expect(paths.filter((path) => /hostname|^pipe:/.test(path))).toEqual([]);
    }
  });

  test("sees its jail and no other file system", async () => {
    for (const pid of pids) {
      const root = await readdir(`/proc/${pid}/root`);
      expect(
        root.filter((entry) => /^(etc|home|root|usr|bin|sbin|var|sys|opt|srv|mnt|work)$/.test(entry)),
      ).toEqual([]);
      const mounts = (await readFile(`/proc/${pid}/mountinfo`, "utf8")).trim().split("\n");
      const byPoint = mounts.map((line) => {
        const [, , , , point, options] = line.split(" ");
        return [point!, options!.split(",").includes("rw") ? "rw" : "ro"];
      });
      expect(Object.fromEntries(byPoint)).toEqual({
        "/": "ro",
        [JAIL.run]: "rw",
        [JAIL.state]: "ro",
        [JAIL.rootDisk]: "ro",
        [JAIL.writable]: "rw",
        [JAIL.upper]: "ro",
      });
    }
  });

  test("cannot write the memory that all sandboxes share", async () => {
    const template = (await driver.files("templates"))[0]!;
    const file = join(driver.home, "templates", template, "memory");
    for (const pid of pids) {
      const maps = (await readFile(`/proc/${pid}/maps`, "utf8"))
        .split("\n")
        .filter((l) => l.endsWith("/state/memory"));
      expect(maps.length).toBeGreaterThan(0);
      // `p`: written pages become its own copies.
      for (const line of maps) expect(line.split(" ")[1]).toMatch(/^r[w-]-p$/);
      for (const fd of await readdir(`/proc/${pid}/fd`)) {
        const path = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => "");
        if (!path.endsWith("/state/memory")) continue;
        const flags = /^flags:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/fdinfo/${fd}`, "utf8"))![1]!;
        expect(Number.parseInt(flags, 8) & 3).toBe(0);
      }
      if (!isRoot) continue;
      // Also without the read-only mount: the file is not its own to open for writing or to change the mode of.
      const owner = (await statusOf(pid)).Uid!.split("\t")[0]!;
      const as = ["setpriv", `--reuid=${owner}`, `--regid=${owner}`, "--clear-groups"] as const;
      await expect(
        run(as[0], [...as.slice(1), "dd", "if=/dev/null", `of=${file}`, "conv=notrunc"]),
      ).rejects.toThrow();
      await expect(run(as[0], [...as.slice(1), "chmod", "0666", file])).rejects.toThrow();
    }
  });
});

describe("where a part of the jail cannot be had", () => {
  test("nothing starts without bubblewrap, unless its owner allows it", async () => {
    await using programs = await pathWithout("bwrap");
    {
      await using driver = await SandboxDriver.open("nobwrap", {
        env: { PATH: programs.path },
        ownTemplates: true,
      });
      await expect(driver.create()).rejects.toMatchObject({
        code: "permission_denied",
        message: expect.stringContaining("bwrap"),
        hint: expect.stringContaining("MSB_JAIL_WITHOUT=bubblewrap"),
      });
      expect(await driver.vmPids()).toEqual([]);
      expect(await driver.files("sandboxes")).toEqual([]);
      expect(await driver.files("templates")).toEqual([]);
    }
    await using driver = await SandboxDriver.open("nobwrap", {
      env: { PATH: programs.path, MSB_JAIL_WITHOUT: "bubblewrap" },
    });
    const sandbox = await driver.create();
    expect((await sandbox.exec("echo", ["allowed"])).stdout).toBe("allowed\n");
    const [pid] = await driver.vmPids();
    // The other parts still hold.
    expect(await readFile(`/proc/${pid}/status`, "utf8")).toMatch(/^Seccomp:\t2$/m);
    await sandbox.remove({ force: true });
    expect(await driver.vmPids()).toEqual([]);
  });

  test("a part that there is not cannot be renounced", async () => {
    await using driver = await SandboxDriver.open("nopart", { env: { MSB_JAIL_WITHOUT: "seccomp,walls" } });
    await expect(driver.create()).rejects.toMatchObject({
      code: "invalid_argument",
      message: expect.stringContaining("'walls'"),
      hint: expect.stringContaining("bubblewrap, seccomp"),
    });
    expect(await driver.files("sandboxes")).toEqual([]);
  });
});
