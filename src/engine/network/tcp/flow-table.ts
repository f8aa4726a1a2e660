import type { IpAddress } from "../../../contract/ip-address.ts";
import type { Parties } from "./wire.ts";

/**
 * Finds what belongs to a segment: by ports first, since making a text of two addresses for each segment would cost more than
 * the segment. Flows that have both ports in common are looked through one by one; the limit on connections bounds how many a guest can
 * arrange to be so.
 */
export class FlowTable<Entry extends { readonly parties: Parties }> {
  readonly #byPorts = new Map<number, Entry[]>();
  #size = 0;
  /** Bulk comes in runs of one flow. */
  #last: Entry | undefined;

  get size(): number {
    return this.#size;
  }

  get(guest: IpAddress, guestPort: number, remote: IpAddress, remotePort: number): Entry | undefined {
    const last = this.#last;
    if (last !== undefined && isFlow(last.parties, guest, guestPort, remote, remotePort)) return last;
    const entries = this.#byPorts.get(guestPort * 0x10000 + remotePort);
    const entry = entries?.find(({ parties }) => isFlow(parties, guest, guestPort, remote, remotePort));
    if (entry !== undefined) this.#last = entry;
    return entry;
  }

  /** There must be none for these parties yet. */
  add(entry: Entry): void {
    const key = keyOf(entry.parties);
    const entries = this.#byPorts.get(key);
    if (entries === undefined) this.#byPorts.set(key, [entry]);
    else entries.push(entry);
    this.#size++;
  }

  delete(entry: Entry): void {
    const key = keyOf(entry.parties);
    const entries = this.#byPorts.get(key);
    const index = entries?.indexOf(entry) ?? -1;
    if (entries === undefined || index < 0) return;
    entries.splice(index, 1);
    if (entries.length === 0) this.#byPorts.delete(key);
    if (this.#last === entry) this.#last = undefined;
    this.#size--;
  }

  /** In no certain order; entries may be deleted meanwhile. */
  all(): Entry[] {
    return [...this.#byPorts.values()].flat();
  }
}

function keyOf({ guestPort, remotePort }: Parties): number {
  return guestPort * 0x10000 + remotePort;
}

function isFlow(
  parties: Parties,
  guest: IpAddress,
  guestPort: number,
  remote: IpAddress,
  remotePort: number,
): boolean {
  return (
    parties.guestPort === guestPort &&
    parties.remotePort === remotePort &&
    parties.guest.equals(guest) &&
    parties.remote.equals(remote)
  );
}
