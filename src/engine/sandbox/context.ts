import type { EnsureImage } from "../ensure-image.ts";
import type { AgentLog } from "../guest/index.ts";
import type { ImageStore } from "../image/index.ts";
import type { MachineShape, Vmm } from "../machine/index.ts";
import type { NetworkService, NetworkStackSettings } from "../network/index.ts";
import type { StateStore } from "../state/index.ts";
import type { BootAssets, EventLog, Paths, SandboxTable } from "../store/index.ts";
import type { TemplateInputs, TemplateStore } from "../template/index.ts";
import type { VolumeHolds, VolumeStore } from "../volume/index.ts";
import type { Reached } from "./faults.ts";
import type { FolderPolicy } from "./folder-policy.ts";
import type { UidPool } from "./uid-pool.ts";

/** The rooms that a sandbox is made of, as its parts hand them on. */
export interface SandboxContext {
  paths: Paths;
  /** Boot assets, the VMM and templates are looked for when first needed: listing works where they are missing. */
  machines(): Promise<Machines>;
  images: ImageStore;
  volumes: VolumeStore;
  states: StateStore;
  holds: VolumeHolds;
  folderPolicy: FolderPolicy;
  /** The image of a name, fetched from its registry if need be. */
  ensureImage: EnsureImage;
  table: SandboxTable;
  events: EventLog;
  uids: UidPool;
  /** Milliseconds between two looks at whether a guest's agent answers. Default: 10,000. */
  heartbeatMs?: number | undefined;
  /** Undefined: somebody else is at the other end of the sandboxes' links, a test or a network of the user's own. */
  network: NetworkService | undefined;
  /** What `network.json` says now. @throws `invalid_argument` if it is not valid */
  networkSettings(): NetworkStackSettings;
  /** For tests that break an operation off where it has come to. */
  reached?: Reached | undefined;
  onAgentLog(sandbox: string, entry: AgentLog): void;
}

/** What starts machines. */
export interface Machines {
  assets: BootAssets;
  vmm: Vmm;
  templates: TemplateStore;
  /** What shapes a template of this size on this host. */
  inputsOf(shape: MachineShape): Promise<TemplateInputs>;
}
