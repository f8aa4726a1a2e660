import type { IpAddress } from "../../contract/ip-address.ts";

/** The four parts that name a TCP connection or an exchange of datagrams. `source` is who began it. */
export interface FlowAddress {
  source: IpAddress;
  sourcePort: number;
  destination: IpAddress;
  destinationPort: number;
}

/** For messages: `10.0.0.1:4000 -> [2001:db8::1]:80`. */
export function flowText(flow: FlowAddress): string {
  return `${endText(flow.source, flow.sourcePort)} -> ${endText(flow.destination, flow.destinationPort)}`;
}

function endText(address: IpAddress, port: number): string {
  return address.version === 4 ? `${address.text}:${port}` : `[${address.text}]:${port}`;
}
