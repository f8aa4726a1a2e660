import { IpAddress } from "../../../contract/ip-address.ts";
import { type Dial, dialDirect } from "../outward/dial.ts";

/**
 * To the host's own loopback. Its servers listen on one of 127.0.0.1 and ::1 or on both, and a guest cannot know: where nobody listens
 * on the one, the other is tried.
 */

const OTHER = { 4: IpAddress.parse("::1")!, 6: IpAddress.parse("127.0.0.1")! };
const NOBODY = new Set(["ECONNREFUSED", "EADDRNOTAVAIL", "EAFNOSUPPORT", "ENETUNREACH"]);

export const dialLoopback: Dial = async (address, port, options) => {
  try {
    return await dialDirect(address, port, options);
  } catch (error) {
    if (!NOBODY.has((error as { code?: string }).code ?? "")) throw error;
    // What the guest is told is what is so for the address that it asked for.
    return await dialDirect(OTHER[address.version], port, options).catch(() => {
      throw error;
    });
  }
};
