import { setTimeout as sleep } from "node:timers/promises";
import { SandboxError } from "../../../contract/index.ts";
import type { NetworkInterface } from "../machine.ts";
import type { Qmp } from "./qmp.ts";

/**
 * The network interface as QEMU's arguments: a virtio device whose frames go to whoever connects to a unix socket. QEMU is the
 * server there, so that the peer may die and come again while the guest runs on.
 */

/**
 * What the device does not offer. Checksums and segmentation: frames go over the socket without the header that would tell of them, and
 * QEMU would do the work. The control queue with all that needs it: nobody filters, and an emulated guest would wait for each answer.
 * Among them is the announcement after loading, which would have every guest send ARP and neighbour advertisements.
 * `status`: the link is always up, whoever listens.
 */
const OFF = [
  ...["csum", "guest_csum", "gso", "host_tso4", "host_tso6", "host_ecn", "host_ufo", "host_uso"],
  ...["guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo", "guest_uso4", "guest_uso6"],
  ...["guest_announce", "mq", "ctrl_vq", "ctrl_rx", "ctrl_vlan", "ctrl_rx_extra", "ctrl_mac_addr"],
  ...["ctrl_guest_offloads", "status"],
];

/** Buffers of each direction. */
const QUEUE_SIZE = 256;

/** `socket`: path with its commas doubled. */
export function networkArguments({ mac, mtu }: NetworkInterface, socket: string): string[] {
  const off = OFF.map((feature) => `${feature}=off`).join(",");
  const queues = `rx_queue_size=${QUEUE_SIZE},tx_queue_size=${QUEUE_SIZE}`;
  return [
    ...["-netdev", `stream,id=net0,server=on,addr.type=unix,addr.path=${socket}`],
    ...["-device", `virtio-net-device,netdev=net0,mac=${mac},host_mtu=${mtu},${queues},mrg_rxbuf=on,${off}`],
  ];
}

const READY_TIMEOUT_MS = 10_000;
const POLL_MS = 1;

/**
 * Resolves when a state may be loaded. QEMU makes its socket in a thread, and until it has heard of that, a frame that goes out ends QEMU
 * with a null pointer (net/stream.c, seen with 10.0.2 in a fifth of all loads). The first frames are its own: after a load it announces
 * where the guest now is, to a network that has no switches to learn it.
 */
export async function networkIsReady(qmp: Qmp): Promise<void> {
  await qmp.execute("migrate-set-parameters", { "announce-rounds": 0 });
  const deadline = Date.now() + READY_TIMEOUT_MS;
  for (;;) {
    const info = String(await qmp.execute("human-monitor-command", { "command-line": "info network" }));
    if (/type=stream,listening/.test(info)) return;
    if (!/type=stream,initializing/.test(info) || Date.now() > deadline) {
      throw new SandboxError("internal", `QEMU does not listen for the network: ${info.trim()}`);
    }
    await sleep(POLL_MS);
  }
}
