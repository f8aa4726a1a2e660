/** Linux's TCP on the other end. Needs root for a network namespace and a TUN interface. */

import { createHash } from "node:crypto";
import { once } from "node:events";
import { pipeline } from "node:stream/promises";
import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { IpAddress } from "../../../contract/ip-address.ts";
import { kernelGuestPossible } from "../testing/namespace.ts";
import type { TcpConnection } from "./connection.ts";
import { KernelGuest } from "./testing/kernel-guest.ts";

const MIB = 1024 * 1024;

/** What a script in the guest begins with: `dial()` and `sha()`. */
const guestOf = (version: 4 | 6) => `
import hashlib, socket, struct, sys, time
FAMILY, REMOTE, ANY = ${version === 4 ? '(socket.AF_INET, "192.0.2.7", "0.0.0.0")' : '(socket.AF_INET6, "2001:db8::7", "::")'}
def dial(port=80, **options):
    s = socket.socket(FAMILY)
    for option, value in options.items():
        level = socket.IPPROTO_TCP if option.startswith("TCP_") else socket.SOL_SOCKET
        s.setsockopt(level, getattr(socket, option), value)
    s.settimeout(30)
    s.connect((REMOTE, port))
    return s
def rest(s):
    parts = []
    while part := s.recv(1 << 16): parts.append(part)
    return b"".join(parts)
def sha(data): return hashlib.sha256(data).hexdigest()
def pattern(count): return bytes(range(251)) * (count // 251 + 1)
`;

function pattern(count: number): Buffer {
  return Buffer.alloc(
    count,
    Uint8Array.from({ length: 251 }, (_, i) => i),
  );
}

const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** The connections that the guest opens from now on. */
function accepted(guest: KernelGuest): Promise<TcpConnection> {
  const { promise, resolve } = Promise.withResolvers<TcpConnection>();
  guest.answer = (request) => resolve(request.accept());
  return promise;
}

async function until(done: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!done()) {
    if (Date.now() > deadline) throw new Error("waited 20 s in vain");
    await turn();
  }
}

describe.skipIf(!kernelGuestPossible()).each([4, 6] as const)(
  "Linux as the guest, IPv%i (needs root and /dev/net/tun)",
  (version) => {
    const GUEST = guestOf(version);
    const SMALLEST_MTU = { 4: 576, 6: 1280 }[version];

    test.each([SMALLEST_MTU, 1500, 9000, 65520])("bulk both ways at once, MTU %i", async (mtu) => {
      await using guest = await KernelGuest.start({ mtu });
      const total = 8 * MIB;
      guest.answer = (request) => {
        const connection = request.accept();
        const hash = createHash("sha256");
        connection.on("data", (chunk) => hash.update(chunk));
        connection.on("end", () => connection.end(hash.digest("hex")));
        connection.write(pattern(total));
      };
      const printed = await guest.python(`${GUEST}
import threading
s = dial()
sent = pattern(${total})[:${total}]
def send(): s.sendall(sent); s.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
got = rest(s)
print(sha(got[:-64]), got[-64:].decode() == sha(sent))`);
      expect(printed).toBe(`${sha(pattern(total))} True`);
      expect(guest.layer.bufferedBytes).toBe(0);
    });

    test("a thousand short connections, each closed by either end", async () => {
      await using guest = await KernelGuest.start();
      let count = 0;
      guest.answer = (request) => {
        const connection = request.accept();
        if (count++ % 2 === 0) connection.end("hello").resume();
        else connection.on("end", () => connection.end("hello")).resume();
      };
      const printed = await guest.python(`${GUEST}
right = 0
for i in range(1000):
    s = dial()
    if i % 2: s.shutdown(socket.SHUT_WR)
    right += rest(s) == b"hello"
    s.close()
print(right)`);
      expect(printed).toBe("1000");
      expect(guest.layer.bufferedBytes).toBe(0);
    });

    test("refused is refused, and a guest that repeats its SYN asks once", async () => {
      await using guest = await KernelGuest.start();
      let asked = 0;
      guest.answer = (request) => {
        asked++;
        if (request.destinationPort === 81) request.reset();
        // After Linux has sent its SYN again.
        else setTimeout(() => request.accept().end("late"), 1500);
      };
      const printed = await guest.python(`${GUEST}
try: dial(81)
except ConnectionRefusedError: print("refused", end=" ")
print(rest(dial(80)).decode())`);
      expect(printed).toBe("refused late");
      expect(asked).toBe(2);
    });

    test("half-close: either end goes on after the other has ended", async () => {
      await using guest = await KernelGuest.start();
      const connection = accepted(guest);
      const script = guest.python(`${GUEST}
s = dial()
first = rest(s)
s.sendall(b"after your end")
s.shutdown(socket.SHUT_WR)
print(first.decode())`);
      const ours = await connection;
      ours.end("our end");
      const chunks = await ours.toArray();
      expect(String(Buffer.concat(chunks))).toBe("after your end");
      expect(await script).toBe("our end");
    });

    test("a reader that stalls shuts the window, for bytes of either side", async () => {
      await using guest = await KernelGuest.start();
      const connection = accepted(guest);
      const script = guest.python(`${GUEST}
s = dial()
sent = 0
s.setblocking(False)
quiet = time.monotonic()
while time.monotonic() - quiet < 0.5:
    try: sent += s.send(b"x" * 65536); quiet = time.monotonic()
    except BlockingIOError: time.sleep(0.01)
try: dial(1)
except ConnectionRefusedError: pass
s.setblocking(True)
s.shutdown(socket.SHUT_WR)
print(sent, len(rest(s)))`);
      const ours = await connection;
      let stuck = false;
      guest.answer = (request) => {
        stuck = true;
        request.reset();
      };
      let written = 0;
      const writing = new Promise<void>((resolve) => {
        const write = (): void => {
          if (written === 16 * MIB) {
            ours.end();
            resolve();
          } else
            ours.write(Buffer.alloc(MIB / 4), () => {
              written += MIB / 4;
              write();
            });
        };
        write();
      });
      await until(() => stuck && guest.layer.bufferedBytes > 800_000);
      expect(written).toBeLessThan(16 * MIB);
      expect(guest.layer.bufferedBytes).toBeLessThan(2 * MIB);
      let read = 0;
      ours.on("data", (chunk) => {
        read += chunk.length;
      });
      await Promise.all([writing, once(ours, "end")]);
      expect(await script).toBe(`${read} ${16 * MIB}`);
    });

    test("resets both ways", async () => {
      await using guest = await KernelGuest.start();
      const first = accepted(guest);
      const script = guest.python(`${GUEST}
s = dial()
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
s.sendall(b"x")
s.close()`);
      const ours = await first;
      const failed = once(ours, "error");
      ours.resume();
      await script;
      expect(await failed).toMatchObject([{ code: "ECONNRESET" }]);
      const second = accepted(guest);
      const reset = guest.python(`${GUEST}
s = dial()
s.sendall(b"x")
try: s.recv(1); print("nothing")
except ConnectionResetError: print("reset")`);
      const other = await second;
      await once(other, "data");
      other.reset();
      expect(await reset).toBe("reset");
      expect(guest.layer.connections).toBe(0);
    });

    test("a window of single bytes, and segments of single bytes", async () => {
      await using guest = await KernelGuest.start();
      guest.answer = (request) => {
        const connection = request.accept();
        connection.write(pattern(20_000));
        pipeline(connection, connection).catch(() => {});
      };
      const printed = await guest.python(`${GUEST}
s = dial(SO_RCVBUF=1, TCP_WINDOW_CLAMP=1, TCP_NODELAY=1)
got = b""
while len(got) < 20000: got += s.recv(1 if len(got) < 500 else 4096)
for byte in b"single bytes": s.sendall(bytes([byte])); time.sleep(0.002)
s.shutdown(socket.SHUT_WR)
print(got == pattern(20000)[:20000], rest(s).decode())`);
      expect(printed).toBe("True single bytes");
    });

    test("segments as small as the guest allows, and an MTU that changes meanwhile", async () => {
      await using guest = await KernelGuest.start();
      guest.answer = (request) => {
        const connection = request.accept();
        pipeline(connection, connection).catch(() => {});
      };
      const smaller = { 4: 700, 6: 1300 }[version];
      const printed = await guest.python(`${GUEST}
import subprocess, threading
s = dial(TCP_MAXSEG=100)
t = dial()
data = pattern(300000)
def send(): t.sendall(data); subprocess.run("ip link set guest0 mtu ${smaller}".split()); t.sendall(data); t.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
same = rest(t) == data + data
s.sendall(b"small" * 1000)
s.shutdown(socket.SHUT_WR)
print(same, rest(s) == b"small" * 1000)`);
      expect(printed).toBe("True True");
    });

    test("keep-alive: Linux answers ours, and we answer its", async () => {
      await using guest = await KernelGuest.start({
        limits: { keepAliveMs: 200, keepAliveIntervalMs: 200, silenceMs: 600 },
      });
      const connection = accepted(guest);
      const script = guest.python(`${GUEST}
s = dial(SO_KEEPALIVE=1, TCP_KEEPIDLE=1, TCP_KEEPINTVL=1, TCP_KEEPCNT=1)
time.sleep(3.5)
s.sendall(b"still here")
s.shutdown(socket.SHUT_WR)
print(rest(s).decode())`);
      const ours = await connection;
      expect(String(Buffer.concat(await ours.toArray()))).toBe("still here");
      ours.end("so are we");
      expect(await script).toBe("so are we");
    });

    test("connections to the guest: accepted, and refused where nothing listens", async () => {
      await using guest = await KernelGuest.start();
      const [client, own] = { 4: ["198.51.100.9", "10.209.0.2"], 6: ["2001:db8::9", "fd6d:7362::2"] }[
        version
      ] as [string, string];
      const flow = {
        source: IpAddress.parse(client)!,
        sourcePort: 5000,
        destination: IpAddress.parse(own)!,
        destinationPort: 8080,
      };
      await expect(guest.layer.connect(flow)).rejects.toMatchObject({ code: "ECONNREFUSED" });
      const script = guest.python(`${GUEST}
l = socket.create_server((ANY, 8081), family=FAMILY)
dial(1).close()
s, (address, port, *_) = l.accept()
s.sendall(f"hello {address} {port}".encode())
print(rest(s).decode())`);
      (await accepted(guest)).resume().end();
      const connection = await guest.layer.connect({ ...flow, destinationPort: 8081 });
      connection.end("and hello");
      expect(String(Buffer.concat(await connection.toArray()))).toBe(`hello ${client} 5000`);
      expect(await script).toBe("and hello");
    });

    test("after this side has started anew, what the guest had ends at once", async () => {
      await using guest = await KernelGuest.start();
      const connection = accepted(guest);
      const script = guest.python(`${GUEST}
s = dial()
s.sendall(b"x")
try: s.recv(1); s.sendall(b"x"); s.recv(1); print("nothing")
except ConnectionResetError: print("reset")`);
      const ours = await connection;
      ours.on("error", () => {});
      await once(ours, "data");
      guest.startAnew();
      ours.write("x");
      expect(await script).toBe("reset");
    });
  },
);
