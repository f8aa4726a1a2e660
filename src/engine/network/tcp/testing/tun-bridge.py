"""Joins a TUN interface of this network namespace to a unix socket: each IP packet with its length before it (4 bytes).

tun-bridge.py SOCKET MTU. Says "up" when the interface has its address and the default route."""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def exactly(link, count):
    parts = b""
    while len(parts) < count:
        part = link.recv(count - len(parts))
        if not part:
            os._exit(0)
        parts += part
    return parts


def inward(link, tun):
    while True:
        (length,) = struct.unpack(">I", exactly(link, 4))
        os.write(tun, exactly(link, length))


path, mtu = sys.argv[1], int(sys.argv[2])
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"guest0", IFF_TUN | IFF_NO_PI))
for command in (
    "ip link set lo up",
    "ip addr add 10.209.0.2/24 dev guest0",
    f"ip link set guest0 mtu {mtu} up",
    "ip route add default dev guest0",
    # Smaller than what IPv6 needs there is none.
    *(["ip addr add fd6d:7362::2/64 dev guest0 nodad", "ip -6 route add default dev guest0"] if mtu >= 1280 else []),
):
    subprocess.run(command.split(), check=True)
link = socket.socket(socket.AF_UNIX)
link.connect(path)
threading.Thread(target=inward, args=(link, tun), daemon=True).start()
print("up", flush=True)
while True:
    packet = os.read(tun, 65536)
    link.sendall(struct.pack(">I", len(packet)) + packet)
