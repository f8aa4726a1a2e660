import { afterAll, beforeAll, expect, test } from "vitest";
import type { Sandbox } from "../src/sdk/index.ts";
import { PRIVATE_ADDRESS, PUBLIC_ADDRESS, PUBLIC_ADDRESS_6 } from "./internet.ts";
import { decided, possible, World } from "./internet-world.ts";

/** UDP to servers of an internet, and names over UDP and TCP, as programs of an image use them. Needs root. */

let world: World;
beforeAll(async () => {
  if (possible) world = await World.open("inet-udp");
});
afterAll(() => world?.[Symbol.asyncDispose]());

const TIMEOUT_MS = 240_000;

/** Sends datagrams of these sizes and says what came back, or why none did. */
const PROBE = `
import os, socket, sys
host, port, sizes = sys.argv[1], int(sys.argv[2]), [int(s) for s in sys.argv[3:]]
sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(20)
sock.connect((host, port))
for size in sizes:
    sent = os.urandom(size)
    try:
        sock.send(sent)
        print(size, sock.recv(65535) == sent)
    except OSError as error:
        print(size, error.strerror)
`;

async function datagrams(sandbox: Sandbox, host: string, port: number, ...sizes: number[]): Promise<string> {
  const args = ["-", host, ...[port, ...sizes].map(String)];
  const { stdout, stderr } = await sandbox.exec("python3", args, { stdin: PROBE, timeoutMs: TIMEOUT_MS });
  return stdout + stderr;
}

test.skipIf(!possible)(
  "datagrams go out and come back over IPv4 and IPv6, also those that are cut into pieces",
  async () => {
    await using sandbox = await world.create({ scope: "public" });
    for (const host of [PUBLIC_ADDRESS, PUBLIC_ADDRESS_6])
      expect(await datagrams(sandbox, host, 5000, 1, 1400, 9000, 40_000)).toBe(
        "1 True\n1400 True\n9000 True\n40000 True\n",
      );
    // What is denied is told at once, with the reason in the log.
    expect(await datagrams(sandbox, PRIVATE_ADDRESS, 5000, 10)).toMatch(
      /^10 .*(refused|No route|denied|unreachable)/,
    );
    await decided(sandbox, { protocol: "udp", address: PRIVATE_ADDRESS, port: 5000, allowed: false });
    const rule = "deny egress public udp:5000";
    await sandbox.network.update({ rules: [rule] });
    expect(await datagrams(sandbox, PUBLIC_ADDRESS, 5000, 10)).toMatch(
      /^10 .*(refused|No route|denied|unreachable)/,
    );
    expect(await datagrams(sandbox, PUBLIC_ADDRESS, 7, 10)).toBe("10 True\n");
    await decided(sandbox, { protocol: "udp", address: PUBLIC_ADDRESS, port: 5000, allowed: false, rule });
  },
  TIMEOUT_MS,
);

test.skipIf(!possible)(
  "names are found over UDP and TCP, and a long answer is fetched again over TCP",
  async () => {
    await using sandbox = await world.create({ scope: "public" });
    const shell = async (script: string) => (await sandbox.shell(script, { timeoutMs: TIMEOUT_MS })).stdout;
    const ask = "getent ahostsv4 www.example | cut -d' ' -f1 | sort -u";
    expect(await shell(ask)).toBe(`${PUBLIC_ADDRESS}\n`);
    expect(await shell(`RES_OPTIONS=use-vc; export RES_OPTIONS; ${ask}`)).toBe(`${PUBLIC_ADDRESS}\n`);
    expect(await shell("getent ahostsv6 www.example | cut -d' ' -f1 | sort -u")).toBe(
      `${PUBLIC_ADDRESS_6}\n`,
    );
    expect(await shell("getent ahostsv4 many.example | cut -d' ' -f1 | sort -u | wc -l")).toBe("60\n");
    expect(await shell("getent hosts nobody.example || echo none")).toBe("none\n");
    expect(await shell("getent ahostsv4 lan.example || echo none")).toBe("none\n");
  },
  TIMEOUT_MS,
);
