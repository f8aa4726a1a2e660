"""Joins a TAP interface of this network namespace to a unix socket in QEMU's framing: each Ethernet frame with its length before it.

tap-bridge.py SOCKET MTU MAC [ADDRESS/PREFIX GATEWAY]... Says "up" when the interface is configured and the socket connected."""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
LARGEST_FRAME = 65_536 + 14


def exactly(link, count):
    parts = bytearray()
    while len(parts) < count:
        part = link.recv(count - len(parts))
        if not part:
            os._exit(0)
        parts += part
    return bytes(parts)


def inward(link, tap):
    while True:
        (length,) = struct.unpack(">I", exactly(link, 4))
        os.write(tap, exactly(link, length))


path, mtu, mac, *addresses = sys.argv[1:]
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"guest0", IFF_TAP | IFF_NO_PI))
link = socket.socket(socket.AF_UNIX)
link.connect(path)
threading.Thread(target=inward, args=(link, tap), daemon=True).start()


def outward():
    while True:
        frame = os.read(tap, LARGEST_FRAME)
        link.sendall(struct.pack(">I", len(frame)) + frame)


threading.Thread(target=outward, daemon=True).start()
commands = ["ip link set lo up", f"ip link set guest0 address {mac}", f"ip link set guest0 mtu {mtu} up"]
for address, gateway in zip(addresses[::2], addresses[1::2]):
    commands.append(f"ip addr add {address} dev guest0" + (" nodad" if ":" in address else ""))
    commands.append(f"ip route add default via {gateway} dev guest0 metric 1")
for command in commands:
    subprocess.run(command.split(), check=True)
print("up", flush=True)
threading.Event().wait()
