"""Every packet that comes over the interfaces that are named, of those that somebody sent on purpose.

At each line on its input it prints, as one line of JSON, what has come since the last one.
"""
import ipaddress
import json
import socket
import struct
import sys

ETH_P_ALL = 3
PACKET_OUTGOING = 4
EXTENSIONS = (0, 43, 60)
TCP, UDP, ICMP, IGMP, ICMPV6 = 6, 17, 1, 2, 58
# What kernels say of themselves: listener reports, router and neighbour discovery.
CHATTER = (130, 131, 132, 133, 134, 135, 136, 137, 143)
ECHO = {ICMP: (8,), ICMPV6: (128,)}


def record(packet):
    """None for what is no packet of a sandbox's: answers of kernels, and what they say on their link."""
    version = packet[0] >> 4
    if version == 4:
        protocol, destination = packet[9], packet[16:20]
        payload = packet[(packet[0] & 15) * 4 :]
    elif version == 6:
        protocol, destination, payload = packet[6], packet[24:40], packet[40:]
        while protocol in EXTENSIONS and len(payload) >= 8:
            protocol, payload = payload[0], payload[8 * (payload[1] + 1) :]
    else:
        return None
    if protocol == IGMP or (protocol == ICMPV6 and payload[0] in CHATTER):
        return None
    # Errors about packets of somebody else, who is told already.
    if protocol in ECHO and payload[0] not in ECHO[protocol]:
        return None
    port = struct.unpack("!H", payload[2:4])[0] if protocol in (TCP, UDP) else 0
    return {
        "protocol": protocol,
        "destination": str(ipaddress.ip_address(destination)),
        "port": port,
        "payload": payload[:1500].decode("latin1"),
    }


def main():
    listening = []
    for name in sys.argv[1:]:
        listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        listener.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        listener.bind((name, 0))
        listener.setblocking(False)
        listening.append(listener)
    print("listening", flush=True)
    for _ in sys.stdin:
        seen = []
        for listener in listening:
            while True:
                try:
                    frame, (_, kind, direction, *_) = listener.recvfrom(65536)
                except BlockingIOError:
                    break
                if direction != PACKET_OUTGOING and kind in (0x0800, 0x86DD):
                    found = record(frame[14:])
                    if found is not None:
                        seen.append(found)
        print(json.dumps(seen), flush=True)


main()
