import { SandboxError } from "../../contract/index.ts";

/** A volume as a sandbox uses it. */
export interface VolumeUse {
  name: string;
  readOnly: boolean;
}

export interface VolumeHolder {
  id: string;
  name: string;
}

interface Hold {
  holder: VolumeHolder;
  uses: readonly VolumeUse[];
  /** Settles when it is released; there once its holder is about to end. */
  ending?: PromiseWithResolvers<void>;
}

/**
 * Which sandboxes have which volumes attached to their VMs now. A volume has one writer or any number of readers, and not
 * both: an ext4 that changes below a mounted one shows the reader torn metadata, however read-only its mount is.
 *
 * Nothing is stored: a hold follows from a sandbox's record, from before its VM starts until that is gone, and a new daemon
 * takes the holds up again with the sandboxes that it adopts.
 */
export class VolumeHolds {
  private readonly holds = new Map<string, Hold>();

  /** @throws `invalid_state` naming the holder, if one of them cannot be had now; then none is held */
  hold(holder: VolumeHolder, uses: readonly VolumeUse[]): void {
    this.assertFree(uses, holder.id);
    this.claim(holder, uses);
  }

  /** For a VM that runs already. */
  claim(holder: VolumeHolder, uses: readonly VolumeUse[]): void {
    if (uses.length > 0) this.holds.set(holder.id, { holder, uses });
  }

  /** Its holder is about to end: who wants what it holds may wait for that. */
  ending(id: string): void {
    const hold = this.holds.get(id);
    if (hold !== undefined) hold.ending ??= Promise.withResolvers();
  }

  release(id: string): void {
    this.holds.get(id)?.ending?.resolve();
    this.holds.delete(id);
  }

  /**
   * Waits for those that have one of them and are about to end: a command that has just ended may leave its sandbox writing to
   * its volumes for a while yet, and the next command is not to fail for that.
   */
  async settled(uses: readonly VolumeUse[]): Promise<void> {
    const names = new Set(uses.map(({ name }) => name));
    const holds = [...this.holds.values()].filter((hold) => hold.uses.some(({ name }) => names.has(name)));
    await Promise.all(holds.map(({ ending }) => ending?.promise));
  }

  /** @throws `invalid_state` naming the holder */
  assertFree(uses: readonly VolumeUse[], except?: string): void {
    for (const { name, readOnly } of uses) {
      for (const other of this.of(name)) {
        if (other.holder.id === except || (readOnly && other.readOnly)) continue;
        throw inUse(name, other.holder, other.readOnly);
      }
    }
  }

  holdersOf(volume: string): VolumeHolder[] {
    return this.of(volume).map(({ holder }) => holder);
  }

  private of(volume: string): { holder: VolumeHolder; readOnly: boolean }[] {
    return [...this.holds.values()].flatMap(({ holder, uses }) =>
      uses.filter(({ name }) => name === volume).map(({ readOnly }) => ({ holder, readOnly })),
    );
  }
}

function inUse(volume: string, holder: VolumeHolder, readOnly: boolean): SandboxError {
  const how = readOnly
    ? `sandbox '${holder.name}' reads volume '${volume}': nobody may write to it meanwhile`
    : `sandbox '${holder.name}' writes to volume '${volume}': nobody else may have it meanwhile`;
  return new SandboxError("invalid_state", how, {
    hint: `A volume has one writer or many readers. Stop the other one: msb stop ${holder.name}`,
    details: { volume, sandbox: holder.name },
  });
}
