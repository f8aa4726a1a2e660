import { afterAll, beforeAll, expect, test } from "vitest";
import type { NetworkChanges, Sandbox } from "../src/sdk/index.ts";
import { METADATA_ADDRESS, PRIVATE_ADDRESS, PUBLIC_ADDRESS, PUBLIC_ADDRESS_6 } from "./internet.ts";
import { possible, World } from "./internet-world.ts";

/** The web as curl and others see it from a sandbox: its protocols, and what scopes and rules leave of it. Needs root. */

let world: World;
beforeAll(async () => {
  if (possible) world = await World.open("inet-web");
});
afterAll(() => world?.[Symbol.asyncDispose]());

const TIMEOUT_MS = 240_000;
const shell = async (sandbox: Sandbox, script: string) =>
  (await sandbox.shell(script, { timeoutMs: TIMEOUT_MS })).stdout;

test.skipIf(!possible)(
  "curl speaks HTTP, HTTPS and HTTP/2, over IPv4 and IPv6",
  async () => {
    await using sandbox = await world.create({ scope: "public" });
    const curl = (args: string) => shell(sandbox, `curl -sS -m 60 ${args} 2>&1`);
    for (const family of ["-4", "-6"]) {
      expect(await curl(`${family} http://www.example/`)).toBe("hello from the internet\n");
      expect(await curl(`${family} --http1.1 https://www.example/version`)).toBe("HTTP/1.1\n");
      expect(await curl(`${family} --http2 https://www.example/version`)).toBe("HTTP/2.0\n");
    }
    for (const host of [PUBLIC_ADDRESS, `[${PUBLIC_ADDRESS_6}]`])
      expect(await curl(`http://${host}/`)).toBe("hello from the internet\n");
    // A server that may be reached sends on to one that may not.
    expect(await curl(`-L 'http://www.example/redirect?http://${METADATA_ADDRESS}/latest'`)).toContain(
      "Decided by: scope public",
    );
  },
  TIMEOUT_MS,
);

/** A client of a WebSocket in words of the RFC (6455), since no image has one: sends, and prints what comes back. */
const WEB_SOCKET = `
import base64, os, socket, ssl, struct
sock = ssl.create_default_context(cafile="/authority.pem").wrap_socket(
    socket.create_connection(("www.example", 443)), server_hostname="www.example")
key = base64.b64encode(os.urandom(16)).decode()
sock.sendall(f"GET /chat HTTP/1.1\\r\\nHost: www.example\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
             f"Sec-WebSocket-Key: {key}\\r\\nSec-WebSocket-Version: 13\\r\\n\\r\\n".encode())
stream = sock.makefile("rb")
print(stream.readline().split()[1].decode())
while stream.readline() != b"\\r\\n": pass
for size in (5, 300, 70000):
    sent = os.urandom(size)
    mask = os.urandom(4)
    masked = bytes(b ^ mask[i % 4] for i, b in enumerate(sent))
    short = size if size < 126 else 126 if size < 65536 else 127
    length = b"" if size < 126 else struct.pack(">H", size) if size < 65536 else struct.pack(">Q", size)
    sock.sendall(bytes([0x82, 0x80 | short]) + length + mask + masked)
    head = stream.read(2)
    left = head[1]
    if left == 126: left = struct.unpack(">H", stream.read(2))[0]
    elif left == 127: left = struct.unpack(">Q", stream.read(8))[0]
    print(size, stream.read(left) == sent)
`;

test.skipIf(!possible)(
  "streams that go both ways at once stay open: a WebSocket, and HTTP/2 as gRPC uses it",
  async () => {
    await using sandbox = await world.create({ scope: "public" });
    const { stdout, stderr } = await sandbox.exec("python3", ["-"], {
      stdin: WEB_SOCKET,
      timeoutMs: TIMEOUT_MS,
    });
    expect({ stdout, stderr }).toEqual({ stdout: "101\n5 True\n300 True\n70000 True\n", stderr: "" });
    // Each line goes out when the one before has come back.
    const script = `
      mkfifo in
      curl -sSN -X POST --http2 -T . https://www.example/echo <in >out 2>&- &
      exec 3>in
      for i in 1 2 3 4 5; do
        echo line $i >&3
        until grep -qx "line $i" out; do sleep 0.05; done
      done
      exec 3>&-
      wait $!; echo $?; cat out`;
    expect(await shell(sandbox, script)).toBe("0\nline 1\nline 2\nline 3\nline 4\nline 5\n");
  },
  TIMEOUT_MS,
);

const TARGETS = {
  public: "http://www.example/",
  secure: "https://www.example/",
  public6: `http://[${PUBLIC_ADDRESS_6}]/`,
  other: "http://other.example/",
  "private name": "http://lan.example/",
  private: `http://${PRIVATE_ADDRESS}/`,
  metadata: `http://${METADATA_ADDRESS}/`,
};
type Target = keyof typeof TARGETS;

/** What curl says: the status, or why there is none. */
const OUTCOMES: Record<string, string> = { 6: "no name", 7: "refused", 35: "alert" };

async function outcomes(sandbox: Sandbox): Promise<Record<Target, string>> {
  const lines = Object.values(TARGETS).map(
    (url) => `curl -s -m 60 -o /dev/null -w '%{http_code} ' '${url}'; echo $?`,
  );
  const seen = (await shell(sandbox, lines.join("\n"))).trim().split("\n");
  const entries = Object.keys(TARGETS).map((target, i) => {
    const [status, exit] = seen[i]!.split(" ") as [string, string];
    return [target, exit === "0" ? status : (OUTCOMES[exit] ?? `exit ${exit}`)];
  });
  return Object.fromEntries(entries);
}

const reached = {
  public: "200",
  secure: "200",
  public6: "200",
  other: "200",
  "private name": "200",
  private: "200",
  metadata: "200",
};

const MATRIX: [NetworkChanges, Record<Target, string>][] = [
  [{ scope: "public" }, { ...reached, "private name": "no name", private: "403", metadata: "403" }],
  [{ scope: "any" }, { ...reached, metadata: "403" }],
  [{ scope: "any", rules: ["allow egress metadata"] }, reached],
  [
    { scope: "any", rules: ["deny egress private", "deny egress domain:other.example"] },
    { ...reached, other: "no name", "private name": "no name", private: "403", metadata: "403" },
  ],
  [
    { scope: "public", rules: [`allow egress ${PRIVATE_ADDRESS} tcp:80`] },
    { ...reached, metadata: "403" },
  ],
  [
    { scope: "public", rules: ["allow egress domain:www.example tcp:443", "deny egress any"] },
    {
      public: "403",
      secure: "200",
      public6: "403",
      other: "no name",
      "private name": "no name",
      private: "403",
      metadata: "403",
    },
  ],
];

test.skipIf(!possible)(
  "what scopes and rules allow is reached, and the rest is refused as it is told",
  async () => {
    await using sandbox = await world.create({ scope: "public" });
    for (const [network, expected] of MATRIX) {
      // A running sandbox takes them as a new one does; only what is open is closed.
      await sandbox.network.update({ rules: [], ...network });
      expect({ ...network, ...(await outcomes(sandbox)) }).toEqual({ ...network, ...expected });
    }
  },
  TIMEOUT_MS,
);

test.skipIf(!possible)(
  "nothing is reached without a network",
  async () => {
    await using sandbox = await world.create({ scope: "none" });
    const seen = await outcomes(sandbox);
    expect(new Set(Object.values(seen))).toEqual(new Set(["no name", "refused"]));
  },
  TIMEOUT_MS,
);
