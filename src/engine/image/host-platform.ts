/** Go's names of architectures, which OCI uses, by Node's. */
const ARCHITECTURES: Record<string, string> = { x64: "amd64", arm64: "arm64" };

/** The platform of sandboxes on this host, as `linux/amd64`. Sandboxes run Linux whatever the host does. */
export function hostPlatform(): string {
  return `linux/${ARCHITECTURES[process.arch] ?? process.arch}`;
}
