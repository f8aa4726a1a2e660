import { IpAddress } from "../../../contract/ip-address.ts";
import { readName } from "./wire-name.ts";

/**
 * Data of SVCB and HTTPS records (RFC 9460): a priority, a name and parameters in the order of their keys. They can carry
 * addresses, which count like answers, and keys that hide the name in TLS. Bounds: what the record holds, each parameter once.
 */

const IPV4_HINT = 4;
const ECH = 5;
const IPV6_HINT = 6;

export interface SvcbRules {
  /** Whether this address may be told. */
  keep(address: IpAddress): boolean;
  /** Leave the keys of encrypted ClientHello out, so that the name in TLS can be read. */
  withoutEch: boolean;
  /** Leave out what points to another name, whose addresses would be asked for under that. */
  withoutOtherNames: boolean;
}

/** The data with what may not be told left out, and the addresses that stayed; undefined: not the record, or all of it must go. */
export function filterSvcb(
  data: Uint8Array,
  rules: SvcbRules,
): { data: Uint8Array; addresses: IpAddress[] } | undefined {
  // The name here is never compressed (RFC 9460, 2.2), which reading it at the start of its own bytes makes sure of.
  const target = readName(data.subarray(2), 0);
  if (target === undefined) return undefined;
  if (rules.withoutOtherNames && target.labels.length > 0) return undefined;
  let at = 2 + target.end;
  const kept: Uint8Array[] = [data.subarray(0, at)];
  const addresses: IpAddress[] = [];
  let before = -1;
  while (at < data.length) {
    if (at + 4 > data.length) return undefined;
    const key = (data[at]! << 8) | data[at + 1]!;
    const length = (data[at + 2]! << 8) | data[at + 3]!;
    const value = data.subarray(at + 4, at + 4 + length);
    if (value.length !== length || key <= before) return undefined;
    before = key;
    at += 4 + length;
    if (key === ECH && rules.withoutEch) continue;
    if (key !== IPV4_HINT && key !== IPV6_HINT) {
      kept.push(data.subarray(at - 4 - length, at));
      continue;
    }
    const size = key === IPV4_HINT ? 4 : 16;
    if (length === 0 || length % size !== 0) return undefined;
    const hints = Array.from(
      { length: length / size },
      (_, i) => new IpAddress(value.slice(i * size, (i + 1) * size)),
    );
    const told = hints.filter((address) => rules.keep(address));
    if (told.length === 0) continue;
    addresses.push(...told);
    kept.push(Uint8Array.of(0, key, (told.length * size) >> 8, (told.length * size) & 0xff));
    kept.push(...told.map((address) => address.bytes));
  }
  return { data: Buffer.concat(kept), addresses };
}
