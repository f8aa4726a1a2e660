/**
 * `policy.json`: which images may be pulled. By registry or by a repository below it; of several that fit, the longest holds, and
 * `default` where none does.
 *
 *     {
 *       "default": { "requireTag": true },
 *       "registries": {
 *         "docker.io": { "requireDigest": true },
 *         "registry.example/team": { "requireSignature": { "keys": ["/etc/msb/team.pub"] } },
 *         "evil.example": { "allow": false }
 *       }
 *     }
 *
 * Entries are full names: an official image of Docker's is `docker.io/library/python`.
 *
 * It is asked when an image is pulled. What is in the store already was let in, or was built, loaded or imported by the owner of the file.
 */

import { isAbsolute } from "node:path";
import { z } from "zod";
import { SandboxError } from "../../../contract/errors.ts";
import type { Digest } from "../digest.ts";
import { familiarName, type ImageReference, parseReference, registryHost } from "../reference.ts";
import { byRegistry, SettingsFile } from "./settings-file.ts";
import { type FetchBlob, type FetchTagged, readKeys, verifySignatures } from "./signature.ts";

const rule = z.strictObject({
  /** Default: true. */
  allow: z.boolean().default(true),
  /** Only by digest: what is fetched is then what was meant, whatever a name has come to mean. */
  requireDigest: z.boolean().default(false),
  /** Not by the tag `latest`, which nobody has chosen. */
  requireTag: z.boolean().default(false),
  /** Only with a signature by one of these public keys (PEM), as `cosign sign --key` makes it. */
  requireSignature: z
    .strictObject({ keys: z.array(z.string().refine(isAbsolute, "must be an absolute path")).min(1).max(64) })
    .optional(),
});

const schema = z.strictObject({
  default: rule.prefault({}),
  registries: byRegistry(
    rule,
    entryName,
    'a registry, or a repository below it, as "registry.example/team"',
  ).default({}),
});

/** How an entry must be written to fit names; undefined for what fits none. */
function entryName(entry: string): string | undefined {
  const slash = entry.indexOf("/");
  const host = registryHost(slash === -1 ? entry : entry.slice(0, slash));
  if (host === undefined || slash === -1) return host;
  const name = `${host}${entry.slice(slash)}`;
  try {
    parseReference(`${name}:tag`);
    return name;
  } catch {
    return undefined;
  }
}

type Rule = z.output<typeof rule>;

export class ImagePolicy {
  readonly #file: SettingsFile<z.output<typeof schema>>;

  constructor(path: string) {
    this.#file = new SettingsFile(path, schema);
  }

  /** Errors: `permission_denied` naming the entry that forbids it; `invalid_argument` for a file that is not valid. */
  assertAllowed(reference: ImageReference): void {
    const { rule, entry } = this.#ruleFor(reference);
    if (!rule.allow) throw this.#denied(reference, entry, "images from there are not allowed");
    if (rule.requireDigest && reference.digest === undefined) {
      throw this.#denied(
        reference,
        entry,
        "only images named by their digest are allowed",
        "Name it as NAME@sha256:…",
      );
    }
    if (rule.requireTag && reference.digest === undefined && reference.tag === "latest") {
      throw this.#denied(
        reference,
        entry,
        "the tag latest is not allowed",
        "Name the version that is meant, as NAME:3.12",
      );
    }
  }

  /**
   * Checks signatures where the policy wants them.
   *
   * @param digests of the manifest and of the index that it stands in; one of them must be signed
   * @throws `permission_denied` if none is signed by one of the keys
   */
  async assertSigned(
    reference: ImageReference,
    digests: readonly Digest[],
    fetch: { manifest: FetchTagged; blob: FetchBlob },
  ): Promise<void> {
    const { rule, entry } = this.#ruleFor(reference);
    if (rule.requireSignature === undefined) return;
    const keys = await readKeys(rule.requireSignature.keys);
    const reasons: string[] = [];
    for (const digest of new Set(digests)) {
      const reason = await verifySignatures(digest, keys, fetch);
      if (reason === undefined) return;
      reasons.push(reason);
    }
    throw this.#denied(reference, entry, `it must be signed, and ${reasons.at(-1)}`);
  }

  #ruleFor({ registry, path }: ImageReference): { rule: Rule; entry: string } {
    const file = this.#file.get();
    const name = `${registry}/${path}`;
    const entries = Object.keys(file.registries)
      .filter((entry) => name === entry || name.startsWith(`${entry}/`))
      .sort((a, b) => b.length - a.length);
    const [entry] = entries;
    return entry === undefined
      ? { rule: file.default, entry: "default" }
      : { rule: file.registries[entry]!, entry };
  }

  #denied(reference: ImageReference, entry: string, reason: string, hint?: string): SandboxError {
    return new SandboxError("permission_denied", `${familiarName(reference)} may not be pulled: ${reason}`, {
      hint: `${hint === undefined ? "" : `${hint}. `}The entry "${entry}" of ${this.#file.path} says so.`,
      details: { policy: this.#file.path, entry },
    });
  }
}
