import { z } from "zod";
import {
  publishedPort,
  SANDBOX_STATES,
  type SandboxHealth,
  type SandboxInfo,
  type SandboxSpec,
  shownSpec,
  span,
} from "../../contract/index.ts";
import { groupLink } from "../network/index.ts";
import type { VolumeUse } from "../volume/index.ts";
import { newMachineId } from "./identity.ts";

/** All that is kept of a sandbox: enough for a new daemon to take it over. */
export const sandboxRecord = z.object({
  id: z.string(),
  name: z.string(),
  spec: shownSpec,
  imageDigest: z.string(),
  state: z.enum(SANDBOX_STATES),
  reason: z.string().optional(),
  exitCode: z.int().optional(),
  createdAt: z.string(),
  startedAt: z.string().optional(),
  stoppedAt: z.string().optional(),
  /** Nothing has been done with it since then; kept where it has an idle timeout. */
  idleSince: z.string().optional(),
  timings: z.array(span),
  /** Uid of its VMM; where the daemon is root. */
  uid: z.int().optional(),
  machine: z
    .object({
      pid: z.int(),
      pidStartTime: z.string(),
      runDirectory: z.string(),
      accelerator: z.string(),
      network: z.boolean().optional(),
      inside: z.object({ run: z.string(), writable: z.string() }).optional(),
      limitable: z.boolean().optional(),
    })
    .optional(),
  /** It ran before: its disk holds something to keep. */
  hasRun: z.boolean(),
  /** Processes below this number may have been used; numbers are reserved in blocks. */
  reservedProcesses: z.int(),
  /** The process whose end ends the sandbox. */
  mainProcess: z.int().optional(),
  /** The channels that folders of the host are served over. */
  folders: z.array(z.object({ channel: z.int(), target: z.string() })).optional(),
  /** Published ports, with the numbers that the host gave. */
  ports: z.array(publishedPort).optional(),
  /** What its addresses within its group come of; for as long as it exists. */
  groupNumber: z.int().optional(),
  /** Its guest's, for as long as this run of it lasts, suspended or not. */
  machineId: z.string().optional(),
  /** What its MAC and addresses come of, if it began as another sandbox; for as long as it exists. */
  linkNumber: z.int().optional(),
  /** It began as another sandbox, and what its image wants to be done then has not been done to the end. */
  hooksDue: z.boolean().optional(),
  /** The state that it is suspended in. */
  suspendedIn: z.string().optional(),
  /** Its disks before the VM that is to wake it runs (disk-marks.ts). */
  wakingOn: z.array(z.string()).optional(),
  /** It serves work of the daemon that made it; the next one removes it. */
  temporary: z.boolean().default(false),
});
export type SandboxRecord = z.output<typeof sandboxRecord>;

/** What a start is told of a spec; its files wait elsewhere. */
export type StartSpec = Omit<SandboxSpec, "files">;

/** Without what only its last run was. */
export function forNewRun(record: SandboxRecord, uid: number | undefined): SandboxRecord {
  const {
    reason: _,
    exitCode: __,
    stoppedAt: ___,
    mainProcess: ____,
    machine: _____,
    folders: ______,
    idleSince: _______,
    ports: ________,
    ...kept
  } = record;
  return { ...kept, uid, machineId: newMachineId(), timings: [] };
}

/** What users are told of it. */
export function toInfo(record: SandboxRecord, health: SandboxHealth): SandboxInfo {
  const { id, name, spec, imageDigest, state, reason, exitCode, createdAt, startedAt, stoppedAt, timings } =
    record;
  return {
    id,
    name,
    image: spec.image,
    imageDigest,
    state,
    ...(state === "running" ? { health } : {}),
    ...(reason === undefined ? {} : { reason }),
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(record.machine === undefined ? {} : { accelerator: record.machine.accelerator }),
    createdAt,
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(stoppedAt === undefined ? {} : { stoppedAt }),
    ...(record.ports === undefined || record.ports.length === 0 ? {} : { ports: record.ports }),
    ...(record.groupNumber === undefined ? {} : { groupAddresses: groupAddressesOf(record.groupNumber) }),
    spec,
    timings,
  };
}

function groupAddressesOf(number: number): string[] {
  return groupLink(number).group?.map(({ address }) => address.text) ?? [];
}

const onlyVolumes = z.object({
  spec: z.object({ mounts: z.array(z.object({ type: z.string(), name: z.string().optional() })) }),
});

/** The volumes of a record that a newer version wrote: its VM may run, and would write to them. */
export function volumesOfUnreadable(record: unknown): VolumeUse[] {
  const parsed = onlyVolumes.safeParse(record);
  if (!parsed.success) return [];
  return parsed.data.spec.mounts.flatMap(({ type, name }) =>
    type === "volume" && name !== undefined ? [{ name, readOnly: false }] : [],
  );
}
