import type { StateManifest } from "./manifest.ts";

interface Named {
  id: string;
  manifest: Pick<StateManifest, "name">;
}

/**
 * Which state has a name. Read once, and kept from then on by the one process that has the store: a sandbox's image may be a state's name,
 * and a look through all states with each sandbox would cost the more the more there are.
 */
export class StateNames {
  readonly #list: () => Promise<readonly Named[]>;
  #ids: Promise<Map<string, string>> | undefined;

  /** @param list all states that can be read, newest first */
  constructor(list: () => Promise<readonly Named[]>) {
    this.#list = list;
  }

  /** Id of the newest of this name. Somebody may have removed it by hand since. */
  async find(name: string): Promise<string | undefined> {
    return (await this.#all()).get(name);
  }

  async give(name: string, id: string): Promise<void> {
    (await this.#all()).set(name, id);
  }

  /** It is gone, whatever its name was. */
  async forget(id: string): Promise<void> {
    // What has not been read yet will not have it.
    const ids = await this.#ids?.catch(() => undefined);
    for (const [name, of] of ids ?? []) if (of === id) ids?.delete(name);
  }

  #all(): Promise<Map<string, string>> {
    this.#ids ??= this.#readAll().catch((error: unknown) => {
      this.#ids = undefined;
      throw error;
    });
    return this.#ids;
  }

  async #readAll(): Promise<Map<string, string>> {
    const ids = new Map<string, string>();
    for (const { id, manifest } of await this.#list()) {
      if (manifest.name !== undefined && !ids.has(manifest.name)) ids.set(manifest.name, id);
    }
    return ids;
  }
}
