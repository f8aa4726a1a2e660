/**
 * Where clouds hand credentials to whoever asks from inside of a machine. Some of these addresses lie among public ones, so no
 * class tells them: they are named here, and only a rule that names one (the keyword `metadata`, or that address alone) opens it.
 */
const METADATA: readonly (readonly [address: string, whose: string])[] = [
  ["169.254.169.254", "AWS, Google Cloud, Azure, OpenStack, DigitalOcean, Oracle and others"],
  ["169.254.170.2", "AWS ECS task credentials"],
  ["169.254.170.23", "AWS EKS pod identity"],
  ["169.254.42.42", "Scaleway"],
  ["fd00:ec2::254", "AWS"],
  ["fd00:ec2::23", "AWS EKS pod identity"],
  ["fd20:ce::254", "Google Cloud"],
  ["fd00:42::42", "Scaleway"],
  ["fd00:c1::a9fe:a9fe", "Oracle Cloud"],
  ["fe80::a9fe:a9fe", "OpenStack"],
  ["100.100.100.200", "Alibaba Cloud"],
  ["168.63.129.16", "Azure's wire server"],
  ["192.0.0.192", "Oracle Cloud Classic"],
];

/** Whose credentials are there, by canonical address. */
export const METADATA_ADDRESSES: ReadonlyMap<string, string> = new Map(METADATA);
