import { describe, expect, test } from "vitest";
import { jailCommand } from "./jail.ts";
import { renouncedParts } from "./vmm.ts";

const options = {
  root: "/jail/root",
  mounts: [
    { source: "/home/run", target: "/run", writable: true },
    { source: "/home/template", target: "/state" },
  ],
  kvm: false,
  maxFileBytes: 1000,
  maxAddressSpace: 2000,
  infoFd: 3,
};
const pairs = (command: string[], flag: string) =>
  command.flatMap((arg, i) => (arg === flag ? [command.slice(i + 1, i + 3)] : []));

describe("the jail's command", () => {
  test("unshares all that bubblewrap can, and mounts only what it was given", () => {
    const command = jailCommand(options, ["-version"]);
    for (const flag of [
      "--unshare-net",
      "--unshare-pid",
      "--unshare-ipc",
      "--unshare-uts",
      "--new-session",
      "--clearenv",
    ]) {
      expect(command).toContain(flag);
    }
    expect(pairs(command, "--bind")).toEqual([["/home/run", "/run"]]);
    expect(pairs(command, "--ro-bind")).toEqual([
      ["/jail/root", "/"],
      ["/home/template", "/state"],
    ]);
    expect(command.join(" ")).not.toContain("--dev-bind");
    expect(command.slice(-2)).toEqual(["/qemu", "-version"]);
  });

  test("is in a user namespace for an ordinary user, and takes on a uid without capabilities for root", () => {
    const user = jailCommand(options, []);
    expect(user).toContain("--unshare-user");
    expect(user).toContain("--disable-userns");
    expect(user).not.toContain("/setpriv");
    const root = jailCommand({ ...options, uid: 900_000_001 }, []);
    expect(root).not.toContain("--unshare-user");
    const setpriv = root.slice(root.indexOf("/setpriv"));
    expect(setpriv).toEqual([
      ...["/setpriv", "--reuid=900000001", "--regid=900000001", "--clear-groups"],
      ...["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs", "--", "/qemu"],
    ]);
  });

  test("limits files, address space and core dumps", () => {
    expect(jailCommand(options, []).slice(0, 6)).toEqual([
      "prlimit",
      "--core=0",
      "--nofile=1024",
      "--fsize=1000",
      "--as=2000",
      "--",
    ]);
  });

  test("shows /dev/kvm, and keeps its group, only for KVM", () => {
    const command = jailCommand({ ...options, kvm: true, uid: 900_000_001, gid: 104 }, []);
    expect(pairs(command, "--dev-bind")).toEqual([["/dev/kvm", "/dev/kvm"]]);
    expect(command).toContain("--groups=104");
  });
});

test("parts of the jail are renounced by name, and a wrong name is an error", () => {
  expect([...renouncedParts(undefined)]).toEqual([]);
  expect([...renouncedParts("seccomp, bubblewrap")]).toEqual(["seccomp", "bubblewrap"]);
  expect(() => renouncedParts("everything")).toThrowError(
    expect.objectContaining({ code: "invalid_argument" }),
  );
});
