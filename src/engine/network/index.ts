/**
 * The user-mode network: what a sandbox sends over its one interface ends here, and goes on as ordinary connections of the host. It
 * owns the host's end of each link. It knows neither machines nor sandboxes.
 */
export {
  GROUP_NUMBERS,
  type GuestLink,
  groupLink,
  LINK_NUMBERS,
  type LinkEnd,
  LONE_LINK,
  numberedLink,
} from "./guest-link.ts";
export { type AttachRequest, NetworkService, type SandboxNetwork } from "./service.ts";
export type {
  BegunFlow,
  FlowRecord,
  NetworkEvent,
  StackSettings as NetworkStackSettings,
} from "./worker/messages.ts";
