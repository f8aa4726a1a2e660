/** Rules name addresses, and everybody may read rules: the class is the contract's. */
export { IpAddress } from "../../contract/ip-address.ts";
