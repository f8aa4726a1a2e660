import type { IpAddress } from "../../../contract/ip-address.ts";

/**
 * Which addresses one sandbox was given for which names: what rules for names go by. An entry counts until the answer's TTL is
 * over, but at least a minute, since programs hold on to an address a little longer than they should; answers of TTL 0 would
 * be over before the connection. A connection that is open stays open after that; what expires is the right to a new one.
 *
 * Bounds: 8,192 entries, 64 names per address, TTLs of at most a day. The oldest go first: a guest can only push out its own.
 */

export const MIN_TTL_S = 60;
export const MAX_TTL_S = 86_400;
const MAX_ENTRIES = 8192;
const MAX_NAMES = 64;

export class NameTable {
  /** By address, then by name: when it is over, on `now`'s clock. Both maps are in the order of the last answer. */
  readonly #given = new Map<string, Map<string, number>>();
  readonly #now: () => number;
  #entries = 0;

  /** `now` in milliseconds, on a clock that does not go back. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  get size(): number {
    return this.#entries;
  }

  /** `name` is canonical. */
  give(name: string, address: IpAddress, ttlS: number): void {
    const names = this.#given.get(address.text) ?? new Map<string, number>();
    const over = this.#now() + 1000 * Math.min(Math.max(ttlS, MIN_TTL_S), MAX_TTL_S);
    // A shorter answer does not take back what a longer one gave.
    const until = Math.max(over, names.get(name) ?? 0);
    this.#remove(address.text, names, name);
    if (names.size >= MAX_NAMES) this.#remove(address.text, names, names.keys().next().value!);
    names.set(name, until);
    this.#entries += 1;
    this.#given.delete(address.text);
    this.#given.set(address.text, names);
    while (this.#entries > MAX_ENTRIES) {
      const [oldest, itsNames] = this.#given.entries().next().value!;
      this.#remove(oldest, itsNames, itsNames.keys().next().value!);
    }
  }

  /** Names that the address was given for and that are not over. */
  namesOf(address: IpAddress): string[] {
    const names = this.#given.get(address.text);
    if (names === undefined) return [];
    const now = this.#now();
    for (const [name, until] of [...names]) if (until <= now) this.#remove(address.text, names, name);
    return [...names.keys()];
  }

  #remove(address: string, names: Map<string, number>, name: string): void {
    if (!names.delete(name)) return;
    this.#entries -= 1;
    if (names.size === 0) this.#given.delete(address);
  }
}
