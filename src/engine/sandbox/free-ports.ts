import type { NetworkSpec } from "../../contract/index.ts";

/** The network of one of several sandboxes that come of one: a port of the host is one's, so each has those that the host gives. */
export function withFreePorts(network: NetworkSpec): NetworkSpec {
  return { ...network, ports: network.ports.map((port) => ({ ...port, host: 0 })) };
}
