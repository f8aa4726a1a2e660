import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Unreachable } from "../packet/icmp.ts";
import { KernelLink } from "../testing/kernel-link.ts";
import { kernelGuestPossible } from "../testing/namespace.ts";
import type { GatewayHandlers } from "./gateway.ts";

/** What a real kernel at the other end makes of the gateway. The remote side answers by the port it is asked at. */
const CODES: Record<number, Unreachable> = {
  7001: "port",
  7002: "host",
  7003: "network",
  7004: "prohibited",
};
const ECHO = 7;

const SOCKETS = `
import errno, hashlib, os, socket, struct, time
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
REMOTE = {4: "198.51.100.7", 6: "2001:db8::7"}
def opened(version, kind, protocol=0):
    s = socket.socket(FAMILY[version], kind, protocol)
    s.settimeout(30)
    return s
def fails(act):
    try:
        act()
        return "nothing"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
`;

describe.skipIf(!kernelGuestPossible()).each([1500, 15_800, 65_520])(
  "a kernel at the other end (as root, with /dev/net/tun), MTU %d",
  (mtu) => {
    let kernel: KernelLink;
    const handlers: GatewayHandlers = {
      tcp: (request) => {
        const code = CODES[request.destinationPort];
        if (code !== undefined) {
          kernel.gateway.unreachable(request, code);
          request.drop();
        } else if (request.destinationPort === ECHO) {
          const connection = request.accept();
          connection.on("error", () => {});
          connection.pipe(connection);
        } else {
          request.reset();
        }
      },
      udp: async (flow) => {
        const code = CODES[flow.destinationPort];
        if (code !== undefined) {
          flow.unreachable(code);
          flow.close();
        }
        for await (const payload of flow) flow.reply(payload);
      },
    };

    beforeAll(async () => {
      kernel = await KernelLink.start(handlers, { mtu });
    });
    afterAll(async () => {
      // Every packet that the kernel sent was as it must be, or for nobody.
      const { multicast: _, ...dropped } = kernel.gateway.drops.all();
      await kernel[Symbol.asyncDispose]();
      expect(dropped).toEqual({});
    });

    const python = (script: string) => kernel.python(SOCKETS + script);

    test.each([4, 6])(
      "the gateway answers echo of IPv%d, also when it takes many packets",
      async (version) => {
        const printed = await python(`
request, reply, gateway = {4: (8, 0, "10.209.0.1"), 6: (128, 129, "fd6d:7362::1")}[${version}]
s = opened(${version}, socket.SOCK_RAW, {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}[${version}])
def checksum(data):
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while total > 0xffff: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
for size in (56, 20_000):
    body = os.urandom(size)
    message = struct.pack(">BBHHH", request, 0, 0, 7, size) + body
    if ${version} == 4: message = message[:2] + struct.pack(">H", checksum(message)) + message[4:]
    s.sendto(message, (gateway, 0))
    while True:
        packet, sender = s.recvfrom(70_000)
        answer = packet[20:] if ${version} == 4 else packet
        if answer[0] == reply: break
    print(sender[0] == gateway, answer[4:] == message[4:])
`);
        expect(printed).toBe("True True\nTrue True");
      },
    );

    test("the gateway is a neighbour, a router and nobody else's", async () => {
      await python(`
for address in ("10.209.0.254", "fd6d:7362::fe"):
    opened(6 if ":" in address else 4, socket.SOCK_DGRAM).sendto(b"", (address, 9))
`);
      const neighbours = await kernel.run("ip", "neigh", "show", "dev", "guest0");
      for (const address of ["10.209.0.254", "fd6d:7362::fe"])
        expect(neighbours).toContain(`${address} lladdr 02:6d:73:62:00:01`);
      const routes = await python(`
import subprocess
deadline = time.monotonic() + 30
while True:
    routes = subprocess.run("ip -6 route show default proto ra".split(), capture_output=True, text=True).stdout
    if routes or time.monotonic() > deadline: break
    time.sleep(0.05)
print(routes)
`);
      expect(routes).toContain("via fe80::1 dev guest0");
    });

    test.each([
      [4, 65_507],
      [6, 65_527],
    ])("datagrams of every length come back, IPv%d", async (version, longest) => {
      const printed = await python(`
s = opened(${version}, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
s.connect((REMOTE[${version}], ${ECHO}))
for size in (0, 1, 1452, 1453, 1472, 1473, 20_000, ${longest}):
    payload = os.urandom(size)
    s.send(payload)
    print(size, s.recv(70_000) == payload)
`);
      expect(printed).toBe(
        [0, 1, 1452, 1453, 1472, 1473, 20_000, longest].map((size) => `${size} True`).join("\n"),
      );
    });

    test.each([
      [4, ["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EHOSTUNREACH"]],
      [6, ["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EACCES"]],
    ] as const)("sockets see the error that was told, IPv%d", async (version, [port, ...others]) => {
      const printed = await python(`
level, option = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}[${version}]
for port in (7001, 7002, 7003, 7004):
    s = opened(${version}, socket.SOCK_DGRAM)
    s.setsockopt(level, option, 1)
    s.connect((REMOTE[${version}], port))
    s.send(b"hello")
    print(fails(lambda: s.recv(1)))
for port in (7002, 7003, 7004, 7005):
    s = opened(${version}, socket.SOCK_STREAM)
    print(fails(lambda: s.connect((REMOTE[${version}], port))))
`);
      expect(printed.split("\n")).toEqual([port, ...others, ...others, "ECONNREFUSED"]);
    });

    test("the router's link-local address refuses at once", async () => {
      const printed = await python(`
scope = socket.if_nametoindex("guest0")
s = opened(6, socket.SOCK_STREAM)
print(fails(lambda: s.connect(("fe80::1", 80, 0, scope))))
s = opened(6, socket.SOCK_DGRAM)
s.connect(("fe80::1", 80, 0, scope))
s.send(b"hello")
print(fails(lambda: s.recv(1)))
`);
      expect(printed).toBe("ECONNREFUSED\nECONNREFUSED");
    });

    test.each([4, 6])("a TCP stream goes there and back, IPv%d", async (version) => {
      const printed = await python(`
import threading
s = opened(${version}, socket.SOCK_STREAM)
s.connect((REMOTE[${version}], ${ECHO}))
data = bytes(range(256)) * 20_000
def send():
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
digest = hashlib.sha256()
while part := s.recv(1 << 20): digest.update(part)
print(digest.hexdigest())
`);
      const data = Buffer.alloc(
        256 * 20_000,
        Uint8Array.from({ length: 256 }, (_, i) => i),
      );
      expect(printed).toBe(createHash("sha256").update(data).digest("hex"));
    });
  },
);
