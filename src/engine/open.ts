import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { VersionInfo } from "../contract/index.ts";
import { BuildCache, Builder, runInSandboxes } from "./build/index.ts";
import { vmdkDescriptor } from "./disk/index.ts";
import { doctor } from "./doctor.ts";
import type { Engine } from "./engine.ts";
import { imageEnsurer } from "./ensure-image.ts";
import { faultInjection } from "./fault-injection.ts";
import {
  CredentialStore,
  ImagePolicy,
  ImageStore,
  imageSettingsFile,
  RegistryClient,
} from "./image/index.ts";
import { imagesApi } from "./images.ts";
import { MachineRoom } from "./machine-room.ts";
import { millisecondsSetting } from "./milliseconds-setting.ts";
import { NetworkService } from "./network/index.ts";
import { Pool, PoolSettingsFile } from "./pool/index.ts";
import {
  FolderPolicy,
  NetworkSettingsFile,
  type SandboxContext,
  SandboxManager,
  SnapshotService,
  UidPool,
} from "./sandbox/index.ts";
import { StateStore } from "./state/index.ts";
import { EventLog, makeHome, openDatabase, PoolTable, SandboxTable } from "./store/index.ts";
import { templatesApi } from "./templates.ts";
import { VolumeHolds, VolumeStore } from "./volume/index.ts";
import { volumesApi } from "./volumes.ts";

export interface EngineOptions {
  /** `$MSB_HOME`: where everything is kept. */
  home: string;
  /**
   * Settings: `MSB_QEMU`, `MSB_ASSETS`, `MSB_ACCELERATOR`, `MSB_JAIL_WITHOUT`, and for very slow hosts
   * `MSB_BOOT_TIMEOUT_MS`, how long the boot of a template may take (default 60,000), `MSB_HEARTBEAT_MS`, how often guests are asked
   * whether they are there (default 10,000). `MSB_NETWORK=unattached` leaves the other end of the sandboxes' links to somebody else.
   * `MSB_FAULT` is for tests (fault-injection.ts).
   * Default: the process's.
   */
  env?: NodeJS.ProcessEnv;
  /** Hears what guests' agents say of themselves. */
  onAgentLog?: (sandbox: string, level: string, message: string) => void;
}

/**
 * Opens a home: takes over the sandboxes that run there and sweeps what interrupted work left. One engine at a time owns
 * a home; to see to that is the caller's business.
 * @throws `permission_denied`, `resource_exhausted`, `unsupported` (written by a newer version)
 */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  const { home, env = process.env } = options;
  const paths = makeHome(home);
  const database = openDatabase(paths.database);
  const events = new EventLog(database);
  const uids = new UidPool();
  const buildCache = new BuildCache(join(paths.images, "build-cache"));
  const settings = imageSettingsFile(paths.imageSettings);
  const images = await ImageStore.open({
    directory: paths.images,
    describeDisk: vmdkDescriptor,
    quotaBytes: () => settings.get().quota,
    otherLayers: () => buildCache.layers(),
  });
  const credentials = new CredentialStore(paths.credentials, env);
  const client = new RegistryClient({ settings, credentials, env });
  const policy = new ImagePolicy(paths.imagePolicy);
  const machineRoom = new MachineRoom({ paths, env, uids, events });
  const ensureImage = imageEnsurer(images, (request, operation) => imageApi.pull(request, operation));
  const volumes = new VolumeStore({
    directory: paths.volumes,
    blank: async () => {
      const { assets } = await machineRoom.machines();
      return { file: join(assets.directory, assets.blank), sizeBytes: assets.blankBytes };
    },
  });
  const holds = new VolumeHolds();
  const reached = faultInjection(env.MSB_FAULT, home);
  const states = new StateStore(paths.states, { onStep: (step) => reached?.(`state.${step}`) });
  const network = env.MSB_NETWORK === "unattached" ? undefined : new NetworkService();
  const networkSettings = new NetworkSettingsFile(paths.networkSettings);
  const context: SandboxContext = {
    paths,
    volumes,
    states,
    holds,
    folderPolicy: new FolderPolicy(paths.folderPolicy, home),
    machines: () => machineRoom.machines(),
    images,
    ensureImage,
    table: new SandboxTable(database),
    events,
    uids,
    heartbeatMs: millisecondsSetting(env, "MSB_HEARTBEAT_MS"),
    network,
    networkSettings: () => networkSettings.get(),
    reached,
    onAgentLog: (sandbox, { level, message }) => options.onAgentLog?.(sandbox, level, message),
  };
  const sandboxes = new SandboxManager(context);
  const runSteps = runInSandboxes(sandboxes);
  const builder = new Builder({ store: images, cache: buildCache, runSteps, ensureImage });
  const imageApi = imagesApi({ store: images, client, credentials, policy, builder, buildCache }, sandboxes);
  await Promise.all([machineRoom.sweep(), volumes.sweep()]);
  await states.sweep(sandboxes.statesInUse());
  await sandboxes.adopt();
  await images.sweep({ inUse: await sandboxes.imagesInUse() });
  const poolSettings = new PoolSettingsFile(paths.poolSettings);
  const pool = new Pool({
    source: {
      image: (name, operation) => ensureImage(name, { pull: "missing" }, operation),
      warmUp: (image, shape, signal) => sandboxes.warmUp(image, shape, signal),
    },
    table: new PoolTable(database),
    events,
    settings: () => poolSettings.get(),
  });
  sandboxes.claimFrom(pool);

  return {
    home,
    sandboxes,
    snapshots: new SnapshotService(context, sandboxes),
    images: imageApi,
    templates: templatesApi(machineRoom),
    volumes: volumesApi({ store: volumes, holds, sandboxes, events }),
    pools: pool,
    events,
    doctor: () => doctor({ paths, env, images, machineRoom, networkSettings: context.networkSettings }),
    version: () => version(machineRoom),
    async close() {
      await pool.close();
      await sandboxes.detach();
      await network?.[Symbol.asyncDispose]();
      await client[Symbol.asyncDispose]();
      database.close();
    },
  };
}

async function version(machineRoom: MachineRoom): Promise<VersionInfo> {
  const [machines, qemu] = await Promise.all([
    machineRoom.machines().catch(() => undefined),
    machineRoom.qemu().catch(() => undefined),
  ]);
  return {
    version: await packageVersion(),
    api: "v1",
    node: process.versions.node,
    ...(qemu === undefined ? {} : { qemu: qemu.version }),
    ...(machines === undefined ? {} : { assets: machines.assets.hash }),
  };
}

/** From package.json, beside `dist/` and above `src/engine/`. */
async function packageVersion(): Promise<string> {
  for (const path of ["../package.json", "../../package.json"]) {
    try {
      const { name, version } = JSON.parse(await readFile(new URL(path, import.meta.url), "utf8"));
      if (name === "microsandbox") return String(version);
    } catch {
      // Not here.
    }
  }
  return "unknown";
}
