import { IpAddress } from "../../../contract/ip-address.ts";

/** The address that a name under in-addr.arpa or ip6.arpa asks about; undefined for other names and for parts of addresses. */
export function reverseAddress(name: string): IpAddress | undefined {
  const labels = name.split(".");
  const zone = labels.splice(-2).join(".");
  if (zone === "in-addr.arpa" && labels.length === 4) return IpAddress.parse(labels.toReversed().join("."));
  if (zone !== "ip6.arpa" || labels.length !== 32 || !labels.every((label) => /^[0-9a-f]$/.test(label)))
    return undefined;
  const hex = labels.toReversed().join("");
  return new IpAddress(
    Uint8Array.from({ length: 16 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16)),
  );
}
