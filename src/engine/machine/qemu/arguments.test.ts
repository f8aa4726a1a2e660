import { describe, expect, test } from "vitest";
import { MAX_VOLUME_SLOTS } from "../machine.ts";
import { type Accelerator, bootArguments, cpuModel, loadArguments, machineFingerprint } from "./arguments.ts";

const paths = {
  qmpSocket: "/run/qmp",
  agentSocket: "/run/agent",
  networkSocket: "/run/a,b/net",
  firmware: "/firmware",
};
const network = { mac: "02:00:00:00:00:01", mtu: 9000 };
const common = { shape: { cpus: 2, memoryMiB: 512, volumeSlots: 0 }, paths, seccomp: true };
const load = (accelerator: Accelerator, more: object = {}) =>
  loadArguments({
    ...common,
    accelerator,
    memoryFile: "/state/memory",
    rootDescriptor: "/disk/root/root.vmdk",
    upper: { overlay: "/disk/writable/upper.qcow2", backing: ["/state/upper.qcow2", "/disk/blank.ext4"] },
    volumes: [],
    ...more,
  });
const bootOptions = (accelerator: Accelerator) => ({
  ...common,
  accelerator,
  kernel: "/boot/vmlinux",
  initramfs: "/boot/initramfs.cpio",
  commandLine: "console=ttyS0",
  memoryFile: "/state/memory",
  rootFile: "/state/root.raw",
  upper: { overlay: "/state/upper.qcow2", backing: ["/boot/blank.ext4"] },
});
const boot = (accelerator: Accelerator) => bootArguments(bootOptions(accelerator));
const valuesOf = (args: string[], flag: string) =>
  args.flatMap((arg, i) => (arg === flag ? [args[i + 1]!] : []));

describe("what a loading machine is given", () => {
  test("maps the template's memory privately, from a file that it opens read-only", () => {
    expect(valuesOf(load("tcg"), "-object")).toEqual([
      "memory-backend-file,id=mem,size=512M,mem-path=/state/memory,share=off,readonly=on,rom=off",
    ]);
  });

  test("opens what sandboxes share read-only, and names every backing file itself", () => {
    const nodes = valuesOf(load("tcg"), "-blockdev");
    for (const node of nodes.filter(
      (n) => !/node-name=upper(-file)?,/.test(`${n},`) && !n.includes("node-name=kept"),
    )) {
      expect(node).toContain("read-only=on");
    }
    expect(nodes).toContain("driver=qcow2,node-name=upper,file=upper-file,backing=upper-0,discard=unmap");
    expect(nodes).toContain("driver=qcow2,node-name=upper-0,file=upper-0-file,backing=upper-1,read-only=on");
    expect(nodes).toContain("driver=raw,node-name=upper-1,file=upper-1-file,read-only=on");
  });

  test("has a placeholder for the kept disk unless there is one", () => {
    expect(load("tcg").join(" ")).toContain("driver=null-co,node-name=kept");
    const kept = {
      overlay: "/disk/writable/kept.qcow2",
      backing: ["/disk/kept/upper.qcow2", "/disk/kept/blank.ext4"],
    };
    const nodes = valuesOf(load("tcg", { kept }), "-blockdev").join(" ");
    expect(nodes).toContain("node-name=kept,file=kept-file,backing=kept-0");
    expect(nodes).not.toContain("null-co");
  });

  test("has a disk for each slot of its shape: given ones first, those that are only read below an overlay", () => {
    const shape = { ...common.shape, volumeSlots: 4 };
    const volumes = [
      { file: "/disk/volume0" },
      { overlay: "/disk/writable/volume1.qcow2", backing: ["/disk/volume1"] },
    ];
    const args = load("tcg", { shape, volumes });
    const nodes = valuesOf(args, "-blockdev");
    expect(nodes).toContain(
      "driver=file,locking=off,node-name=volume0-file,filename=/disk/volume0,read-only=off,discard=unmap",
    );
    expect(nodes).toContain("driver=raw,node-name=volume0,file=volume0-file,discard=unmap");
    expect(nodes).toContain(
      "driver=file,locking=off,node-name=volume1-0-file,filename=/disk/volume1,read-only=on",
    );
    expect(nodes).toContain("driver=raw,node-name=volume1-0,file=volume1-0-file,read-only=on");
    expect(nodes).toContain(
      "driver=qcow2,node-name=volume1,file=volume1-file,backing=volume1-0,discard=unmap",
    );
    expect(nodes.filter((n) => n.startsWith("driver=null-co")).map((n) => n.split(",")[1])).toEqual([
      "node-name=kept",
      "node-name=volume2",
      "node-name=volume3",
    ]);
    expect(valuesOf(args, "-device").slice(-4)).toEqual(
      [0, 1, 2, 3].map((n) => `virtio-blk-device,drive=volume${n},serial=volume${n}`),
    );
    // A flush of the guest must reach the host's disk, and no write may wait in QEMU.
    expect(nodes.join(" ")).not.toMatch(/cache|flush/);
    const stored = bootArguments({ ...bootOptions("tcg"), shape });
    expect(valuesOf(stored, "-device")).toEqual(valuesOf(args, "-device"));
  });

  test("puts every disk that is there behind one filter if limits will be set, and keeps the devices as they are", () => {
    const shape = { ...common.shape, volumeSlots: 2 };
    const volumes = [
      { file: "/disk/volume0" },
      { overlay: "/disk/writable/volume1.qcow2", backing: ["/disk/volume1"] },
    ];
    const limited = load("tcg", { shape, volumes, limitable: true });
    expect(valuesOf(limited, "-object")[1]).toBe("throttle-group,id=disks");
    expect(valuesOf(limited, "-blockdev").filter((node) => node.startsWith("driver=throttle"))).toEqual([
      "driver=throttle,node-name=root,throttle-group=disks,file=root-unlimited,read-only=on",
      "driver=throttle,node-name=upper,throttle-group=disks,file=upper-unlimited,discard=unmap",
      "driver=throttle,node-name=volume0,throttle-group=disks,file=volume0-unlimited,discard=unmap",
      "driver=throttle,node-name=volume1,throttle-group=disks,file=volume1-unlimited,discard=unmap",
    ]);
    expect(valuesOf(limited, "-device")).toEqual(valuesOf(load("tcg", { shape, volumes }), "-device"));
    expect(load("tcg").join(" ")).not.toContain("throttle");
  });

  test("does not load a kernel, and waits to be told what to load", () => {
    expect(load("tcg")).not.toContain("-kernel");
    expect(valuesOf(load("tcg"), "-incoming")).toEqual(["defer"]);
  });

  test("keeps a comma in a path", () => {
    expect(load("tcg", { rootDescriptor: "/a,b/root.vmdk" }).join(" ")).toContain("filename=/a,,b/root.vmdk");
  });
});

test("the machine that stores and the one that loads have the same devices in the same order", () => {
  for (const flag of [
    "-M",
    "-accel",
    "-cpu",
    "-smp",
    "-m",
    "-device",
    "-chardev",
    "-serial",
    "-mon",
    "-bios",
    "-action",
  ]) {
    expect(valuesOf(load("tcg"), flag), flag).toEqual(valuesOf(boot("tcg"), flag));
  }
});

test("a network interface is the last device, the same for who stores and who loads, and needs nothing but its socket", () => {
  for (const accelerator of ["tcg", "kvm"] as const) {
    const shape = { ...common.shape, network };
    const args = load(accelerator, { shape });
    const stored = bootArguments({ ...bootOptions(accelerator), shape });
    expect(valuesOf(args, "-device")).toEqual(valuesOf(stored, "-device"));
    expect(valuesOf(args, "-device").slice(0, -1)).toEqual(valuesOf(load(accelerator), "-device"));
    const [device, ...options] = valuesOf(args, "-device").at(-1)!.split(",");
    expect(device).toBe("virtio-net-device");
    expect(options).toEqual(
      expect.arrayContaining(["netdev=net0", "mac=02:00:00:00:00:01", "host_mtu=9000"]),
    );
    for (const list of [args, stored]) {
      expect(valuesOf(list, "-netdev")).toEqual([
        "stream,id=net0,server=on,addr.type=unix,addr.path=/run/a,,b/net",
      ]);
    }
    expect(valuesOf(load(accelerator), "-netdev")).toEqual([]);
  }
});

test("with all that a machine can have, there is a virtio-mmio slot for each device", () => {
  const shape = { ...common.shape, volumeSlots: MAX_VOLUME_SLOTS, network };
  const slotted = valuesOf(load("tcg", { shape }), "-device").filter((d) => /^virtio-[a-z]+-device/.test(d));
  expect(slotted).toHaveLength(21);
  // hw/i386/microvm.c: 24 with a second IO-APIC.
  expect(slotted.length).toBeLessThanOrEqual(24);
});

test("nothing that nobody asked for is plugged in", () => {
  for (const args of [load("tcg"), boot("tcg")]) {
    expect(args).toContain("-nodefaults");
    expect(args).toContain("-no-user-config");
    const devices = valuesOf(args, "-device").map((device) => device.split(",")[0]);
    expect(devices).toEqual([
      "virtio-serial-device",
      "virtserialport",
      "virtio-blk-device",
      "virtio-blk-device",
      "virtio-blk-device",
    ]);
  }
});

test("seccomp allows neither new privileges nor new programs, and can be left out", () => {
  expect(valuesOf(load("tcg"), "-sandbox")).toEqual([
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
  ]);
  expect(load("tcg", { seccomp: false })).not.toContain("-sandbox");
});

test.each<[Accelerator, string]>([
  ["kvm", "host,-invtsc"],
  ["hvf", "host"],
  ["whpx", "host"],
  ["tcg", "max,-erms,-fsrm"],
])("%s runs with CPU model %s", (accelerator, model) => {
  expect(cpuModel(accelerator)).toBe(model);
  expect(valuesOf(load(accelerator), "-accel")).toEqual([accelerator]);
  expect(valuesOf(load(accelerator), "-cpu")).toEqual([model]);
});

test("the fingerprint tells accelerators apart and does not depend on the shape", () => {
  expect(machineFingerprint("kvm")).not.toBe(machineFingerprint("tcg"));
  expect(machineFingerprint("tcg")).toBe(machineFingerprint("tcg"));
});
