import type { NetworkScope } from "../../../contract/network.ts";
import type { PlaceKind } from "./place.ts";

/**
 * What holds where no rule decides. A sandbox that was put into a group reaches its fellows in every scope but `none`; a port
 * that was published is open to whoever can reach the address that it is bound to.
 */
export const EGRESS_BY_SCOPE: Record<NetworkScope, ReadonlySet<PlaceKind>> = {
  none: new Set(),
  group: new Set<PlaceKind>(["group"]),
  public: new Set<PlaceKind>(["public", "group"]),
  any: new Set<PlaceKind>(["public", "private", "group"]),
};
