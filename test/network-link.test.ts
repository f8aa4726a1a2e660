import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MAX_VOLUME_SLOTS } from "../src/engine/machine/machine.ts";
import { Image, Sandbox, Template } from "../src/sdk/index.ts";
import { buildTar } from "../src/tar/tar-builder.test-support.ts";
import { LinkPeer } from "./link-peer.ts";
import { SandboxDriver, until } from "./sandbox-driver.ts";

/** A sandbox's network interface, and the socket that is its other end. */

let driver: SandboxDriver;
beforeAll(async () => {
  driver = await SandboxDriver.open("link", { env: { MSB_NETWORK: "unattached" } });
});
afterAll(() => driver?.[Symbol.asyncDispose]());

const network = { scope: "public" } as const;
const socketOf = ({ id }: { id: string }) => join(driver.home, "run", id.slice(0, 8), "net");
const shell = async (sandbox: Sandbox, script: string) => (await sandbox.shell(script)).stdout;
const PING = "ping -c 1 -W 5 10.209.0.1 >&2 && ping -6 -c 1 -W 5 fd6d:7362::1 >&2; echo $?";
/** Fills every queue between the guest and a peer that does not read. */
const FLOOD =
  "i=0; while [ $i -lt 80 ]; do ping -c 1 -W 1 -s 8000 10.209.0.1 >/dev/null & i=$((i+1)); done; wait; true";

describe("a sandbox with a network interface", () => {
  test("has its addresses, its routes, its neighbours and its names from the first process on, without a word on the link", async () => {
    await using sandbox = await driver.create({ name: "named", network });
    await using peer = await LinkPeer.connect(socketOf(sandbox));
    const addresses = await shell(sandbox, "ip addr show eth0");
    expect(addresses).toMatch(/eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 15800 /);
    expect(addresses).toContain("link/ether 02:6d:73:62:00:02");
    expect(addresses).toContain("inet 10.209.0.2/24");
    expect(addresses).toContain("inet6 fd6d:7362::2/64");
    expect(addresses).not.toContain("tentative");
    expect(await shell(sandbox, "ip addr show lo")).toMatch(
      /UP,LOWER_UP[\s\S]*inet 127\.0\.0\.1\/8[\s\S]*inet6 ::1\/128/,
    );
    expect(await shell(sandbox, "ip route; ip -6 route")).toMatch(
      /default via 10\.209\.0\.1 dev eth0[\s\S]*default via fd6d:7362::1 dev eth0/,
    );
    const neighbours = await shell(sandbox, "ip neigh");
    for (const address of ["10.209.0.1", "10.209.0.254", "fd6d:7362::1", "fd6d:7362::fe"]) {
      expect(neighbours).toContain(`${address} dev eth0 lladdr 02:6d:73:62:00:01`);
    }
    expect(await shell(sandbox, "cat /etc/resolv.conf")).toBe(
      "nameserver 10.209.0.1\nnameserver fd6d:7362::1\n",
    );
    expect(await shell(sandbox, "cat /etc/hosts")).toBe(
      "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.209.0.2\tnamed\nfd6d:7362::2\tnamed\n",
    );
    expect(peer.frames.map((frame) => frame.toString("hex"))).toEqual([]);
    expect(await shell(sandbox, PING)).toBe("0\n");
    expect(peer.frames).toHaveLength(2);
  });

  test("does not take its name servers from where a link of the image leads", async () => {
    const built = (name: string) =>
      readFile(fileURLToPath(new URL(`../build/images/${name}`, import.meta.url)));
    const base = await built("msb-base.tar");
    const config = JSON.parse((await built("msb-base.config.json")).toString());
    const link = buildTar([{ path: "etc/resolv.conf", typeflag: "2", linkTarget: "../run/stub.conf" }]);
    await Image.import("test/stub", Readable.from([withoutEnd(base), link]), {
      connection: driver.connection,
      config,
    });
    await using plain = await driver.create({ image: "test/stub", network: { scope: "none" } });
    expect(await shell(plain, "readlink /etc/resolv.conf")).toBe("../run/stub.conf\n");
    await using sandbox = await driver.create({ image: "test/stub", network });
    expect(
      await shell(sandbox, "stat -c %F /etc/resolv.conf; head -n 1 /etc/resolv.conf; ls /run/stub.conf 2>&1"),
    ).toBe("regular file\nnameserver 10.209.0.1\nls: /run/stub.conf: No such file or directory\n");
  });

  test("keeps what is made of its resolv.conf, a link included", async () => {
    const sandbox = await driver.create({ network });
    await sandbox.shell("rm /etc/resolv.conf && ln -s /run/nothing/stub.conf /etc/resolv.conf");
    await sandbox.stop();
    await sandbox.start();
    expect(await shell(sandbox, "readlink /etc/resolv.conf")).toBe("/run/nothing/stub.conf\n");
    await sandbox.shell("rm /etc/resolv.conf; echo nameserver 192.0.2.1 > /etc/resolv.conf");
    await sandbox.stop();
    await sandbox.start();
    expect(await shell(sandbox, "cat /etc/resolv.conf")).toBe("nameserver 192.0.2.1\n");
    await sandbox.remove({ force: true });
  });

  test("goes on while nobody is at the other end, and answers the next one, also after a daemon's death", async () => {
    const sandbox = await driver.create({ name: "lonely", network });
    {
      await using peer = await LinkPeer.connect(socketOf(sandbox));
      expect(await shell(sandbox, PING)).toBe("0\n");
      // A frame that never ends.
      peer.write(Buffer.from([0, 0, 4, 0, 1, 2, 3]));
    }
    await shell(sandbox, FLOOD);
    await driver.killDaemon();
    const again = await Sandbox.get("lonely", { connection: driver.connection });
    await using _ = await LinkPeer.connect(socketOf(again));
    expect(await shell(again, PING)).toBe("0\n");
    await again.remove({ force: true });
  });

  test("waits for a peer that does not read, but not longer than there is one", async () => {
    await using sandbox = await driver.create({ network });
    const [vm] = await driver.vmPids();
    let flood: Promise<string>;
    {
      await using _ = await LinkPeer.connect(socketOf(sandbox), { reads: false });
      flood = shell(sandbox, FLOOD);
      const waits = async () => (await readFile(`/proc/${vm}/wchan`, "latin1")).startsWith("sock_alloc_send");
      await until(waits, "QEMU waits for its peer");
    }
    await flood;
    await using _ = await LinkPeer.connect(socketOf(sandbox));
    expect(await shell(sandbox, PING)).toBe("0\n");
  });

  test("may have all volumes that there can be as well", async () => {
    const mounts = Array.from({ length: MAX_VOLUME_SLOTS }, (_, i) => ({
      type: "volume" as const,
      name: `v${i}`,
      target: `/v${i}`,
    }));
    await using sandbox = await driver.create({ network, mounts });
    await using _ = await LinkPeer.connect(socketOf(sandbox));
    expect(await shell(sandbox, "grep -c ' /v[0-9]* ext4' /proc/mounts")).toBe(`${MAX_VOLUME_SLOTS}\n`);
    expect(await shell(sandbox, PING)).toBe("0\n");
  });
});

test("a sandbox without a network has no interface but loopback, and the resolv.conf of its image", async () => {
  await using sandbox = await driver.create({ network: { scope: "none" } });
  expect(
    await shell(sandbox, "ls /sys/class/net; cat /etc/resolv.conf 2>&1; grep -c net /proc/modules"),
  ).toBe("lo\ncat: can't open '/etc/resolv.conf': No such file or directory\n0\n");
  expect(await driver.files(`run/${sandbox.id.slice(0, 8)}`)).not.toContain("net");
  const shapes = (await Template.list({ connection: driver.connection })).map(({ shape }) => shape.network);
  expect(shapes).toContain(false);
});

/** A tar ends with blocks of zeros; what follows them would not be read. */
function withoutEnd(tar: Buffer): Buffer {
  const zeros = Buffer.alloc(512);
  let end = tar.length;
  while (end >= 512 && tar.subarray(end - 512, end).equals(zeros)) end -= 512;
  return tar.subarray(0, end);
}
