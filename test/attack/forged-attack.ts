import type { Attack } from "./attack.ts";
import { frame, synPacket, udpPacket } from "./forge.ts";
import { LAN, WEB_6 } from "./world.ts";

/** Attacks that are frames, and the honest ones beside which they are measured. */

/** To somebody public, with loot. */
export const datagram = frame(udpPacket());
export const datagram6 = frame(udpPacket({ destination: WEB_6 }));
/** To a private address. */
export const syn = frame(synPacket({ destination: LAN }));

export const forged = (name: string, frames: string[], honest: string): Attack => ({
  name,
  run: ["frames", ...frames],
  control: ["frames", honest],
});
