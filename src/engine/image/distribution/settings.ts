/**
 * `images.json`: how registries are reached, and how much the store may take.
 *
 *     {
 *       "quota": "50G",
 *       "registries": {
 *         "docker.io": { "mirrors": ["https://mirror.example"] },
 *         "registry.example:5000": { "ca": "/etc/ssl/example.pem" },
 *         "old.example": { "insecure": true },
 *         "evil.example": { "blocked": true }
 *       }
 *     }
 */

import { readFileSync } from "node:fs";
import { isAbsolute } from "node:path";
import { z } from "zod";
import { SandboxError } from "../../../contract/errors.ts";
import { registryHost } from "../reference.ts";
import { byRegistry, SettingsFile } from "./settings-file.ts";

const UNITS: Record<string, number> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

const size = z
  .string()
  .regex(/^[0-9]{1,12}[KMGT]?$/, 'must be a size, as "50G"')
  .transform((text) => Number.parseInt(text, 10) * UNITS[text.replace(/^[0-9]+/, "")]!);

const mirror = z
  .url({ protocol: /^https?$/, error: "must be a URL, as https://mirror.example" })
  .refine((text) => new URL(text).username === "", "must not hold credentials; msb login keeps them");

const registry = z.strictObject({
  /** Are asked first, in order; the registry itself comes last. */
  mirrors: z.array(mirror).max(16).default([]),
  /** HTTP without TLS is allowed, and with TLS nobody's certificate is checked. */
  insecure: z.boolean().default(false),
  /** Path of a PEM file with more certificate authorities. */
  ca: z.string().refine(isAbsolute, "must be an absolute path").optional(),
  /** Nothing is fetched from it or sent to it. */
  blocked: z.boolean().default(false),
});

const schema = z.strictObject({
  quota: size.optional(),
  registries: byRegistry(registry, registryHost, 'a registry, as "registry.example:5000"').default({}),
});

export type ImageSettings = z.output<typeof schema>;
export type RegistrySettings = z.output<typeof registry>;

export function imageSettingsFile(path: string): SettingsFile<ImageSettings> {
  return new SettingsFile(path, schema);
}

/** What holds for a registry; the defaults if nothing is said of it. */
export function settingsOf(settings: ImageSettings, name: string): RegistrySettings {
  return settings.registries[name] ?? { mirrors: [], insecure: false, blocked: false };
}

/** May this be reached by HTTP without TLS, and hear who we are? As Docker has it: what never leaves this machine needs no TLS. */
export function mayGoWithoutTls({ protocol, hostname }: URL, { insecure }: RegistrySettings): boolean {
  const isLoopback = hostname === "localhost" || hostname === "[::1]" || /^127\.[0-9.]+$/.test(hostname);
  return protocol === "https:" || insecure || isLoopback;
}

/** The certificates of a registry's own authority. Errors: `invalid_argument` naming the file. */
export function certificatesOf({ ca }: RegistrySettings): string | undefined {
  if (ca === undefined) return undefined;
  try {
    return readFileSync(ca, "utf8");
  } catch (cause) {
    throw new SandboxError("invalid_argument", `the certificates in ${ca} cannot be read`, {
      hint: 'images.json names this file as "ca" of a registry.',
      cause,
    });
  }
}
