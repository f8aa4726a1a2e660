/**
 * Names of images, in the grammar that Docker made common: `[registry/]path[:tag][@digest]`, with `docker.io`,
 * `library/` and `latest` left out where they are meant. Grammar: distribution/reference, reference.go.
 *
 * One thing is our own: names under `msb/` are images made on this machine. They have no registry, so a
 * stranger who takes the name `msb` at one cannot put himself in their place.
 */

import { SandboxError } from "../../contract/errors.ts";
import { type Digest, isDigest } from "./digest.ts";

export interface ImageReference {
  /** `docker.io`, `localhost:5000`, … or LOCAL_REGISTRY; in its one spelling, see `registryHost`. */
  registry: string;
  /** `library/python` */
  path: string;
  /** `latest` unless told; undefined when only a digest is given. */
  tag: string | undefined;
  digest: Digest | undefined;
}

/** Stands for "this machine". No host can have this name: Docker's grammar wants a dot, a port or `localhost`. */
export const LOCAL_REGISTRY = "msb";

const DEFAULT_REGISTRY = "docker.io";
const DEFAULT_TAG = "latest";
const MAX_NAME_CHARS = 255;
const MAX_TAG_CHARS = 128;
/** Names of Docker's own registry that mean the same. */
const DOCKER_HUB_HOSTS: readonly string[] = ["index.docker.io", "registry-1.docker.io"];

const HOST =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?$/;
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[\w][\w.-]{0,127}$/;

/** Parses a name. Errors: `invalid_argument`, saying where and why. */
export function parseReference(text: string): ImageReference {
  if (text === "") throw refuse(text, 0, "it is empty");
  if (/^[0-9a-f]{64}$/.test(text))
    throw refuse(text, 0, "64 hex digits are a digest: put sha256: before them");

  const at = text.indexOf("@");
  const digest = at === -1 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isDigest(digest)) {
    throw refuse(text, at + 1, "a digest is sha256: and 64 lower-case hex digits");
  }
  const named = at === -1 ? text : text.slice(0, at);

  // A colon behind the last slash begins a tag; one before it belongs to a port.
  const colon = named.lastIndexOf(":");
  const hasTag = colon > named.lastIndexOf("/");
  const tag = hasTag ? named.slice(colon + 1) : undefined;
  if (tag !== undefined && !TAG.test(tag)) {
    const position = tag.length > MAX_TAG_CHARS ? MAX_TAG_CHARS : (firstBad(tag, /[\w.-]/) ?? 0);
    throw refuse(text, colon + 1 + position, tagReason(tag));
  }
  const name = hasTag ? named.slice(0, colon) : named;
  if (name.length > MAX_NAME_CHARS)
    throw refuse(text, MAX_NAME_CHARS, `names have at most ${MAX_NAME_CHARS} characters`);

  const { host, path, pathAt } = splitRegistry(name);
  const registry = host === LOCAL_REGISTRY ? LOCAL_REGISTRY : registryHost(host);
  if (registry === undefined) {
    const position = firstBad(host, /[a-zA-Z0-9.:[\]-]/) ?? 0;
    const reason = `${JSON.stringify(host)} is no host name`;
    throw refuse(
      text,
      position,
      isHostLike(host) ? reason : `${reason}: without a dot or a port, names are lower-case`,
    );
  }
  checkPath(text, path, pathAt);
  return {
    registry,
    path: registry === DEFAULT_REGISTRY && !path.includes("/") ? `library/${path}` : path,
    tag: tag ?? (digest === undefined ? DEFAULT_TAG : undefined),
    digest: digest as Digest | undefined,
  };
}

/**
 * A registry in the one spelling by which names, policy, settings and credentials know it: lower-case, without the port that
 * HTTPS has anyway, an address in its usual form, and `docker.io` for all that it is called. What forbids a registry would else
 * not hold for `GHCR.io` or `ghcr.io:0443`. undefined for what is no host, and for a host that could be taken for a folder.
 */
export function registryHost(text: string): string | undefined {
  if (!HOST.test(text)) return undefined;
  // The one place that says which address a host is, and so which spellings are the same: what connects to it parses it so.
  const host = URL.parse(`https://${text}/`)?.host;
  if (host === undefined) return undefined;
  if (DOCKER_HUB_HOSTS.includes(host)) return DEFAULT_REGISTRY;
  if (isHostLike(host)) return host;
  return text.includes(":") ? `${host}:443` : undefined;
}

/**
 * A registry as people write it to log in: as `registryHost`, and as a URL of its API.
 *
 * Errors: `invalid_argument`.
 */
export function parseRegistry(text: string): string {
  const host = registryHost(text.replace(/^https?:\/\//i, "").replace(/\/(v[12]\/?)?$/, ""));
  if (host !== undefined) return host;
  throw new SandboxError("invalid_argument", `${JSON.stringify(text)} names no registry`, {
    hint: "A registry is a host, with a dot, a port or localhost, as registry.example:5000.",
  });
}

function splitRegistry(name: string): { host: string; path: string; pathAt: number } {
  const slash = name.indexOf("/");
  const first = slash === -1 ? "" : name.slice(0, slash);
  const isHost = isHostLike(first) || /[A-Z]/.test(first) || first === LOCAL_REGISTRY;
  if (!isHost) return { host: DEFAULT_REGISTRY, path: name, pathAt: 0 };
  return { host: first, path: name.slice(slash + 1), pathAt: slash + 1 };
}

/** What stands before the first slash is a host if nobody could have a folder of this name. */
function isHostLike(text: string): boolean {
  return /[.:[]/.test(text) || text === "localhost";
}

function checkPath(text: string, path: string, pathAt: number): void {
  let position = pathAt;
  for (const component of path.split("/")) {
    if (!COMPONENT.test(component)) {
      const bad = firstBad(component, /[a-z0-9._-]/);
      if (component === "") throw refuse(text, position, "a part between slashes is empty");
      if (bad === undefined) {
        throw refuse(
          text,
          position,
          "parts of a name begin and end with a letter or digit, one separator at a time",
        );
      }
      const character = component[bad]!;
      throw refuse(
        text,
        position + bad,
        /[A-Z]/.test(character) ? "names are lower-case" : `${JSON.stringify(character)} is not allowed here`,
      );
    }
    position += component.length + 1;
  }
}

/** Where the first character that is never allowed stands; undefined if they are only in the wrong order. */
function firstBad(text: string, allowed: RegExp): number | undefined {
  const bad = text.split("").findIndex((character) => !allowed.test(character));
  return bad === -1 ? undefined : bad;
}

function tagReason(tag: string): string {
  if (tag === "") return "the tag is empty";
  if (tag.length > MAX_TAG_CHARS) return `tags have at most ${MAX_TAG_CHARS} characters`;
  return "a tag is made of letters, digits, `_`, `.` and `-`, and does not begin with `.` or `-`";
}

function refuse(text: string, position: number, reason: string): SandboxError {
  const shown = text.length > 300 ? `${text.slice(0, 300)}…` : text;
  return new SandboxError(
    "invalid_argument",
    `${JSON.stringify(shown)} is not an image name: ${reason} (at character ${position + 1})`,
    { hint: "Names look like python, python:3.12, ghcr.io/owner/image:tag or msb/python." },
  );
}

/** The full name, by which images are kept: `docker.io/library/python:latest`, `msb/python:latest`. */
export function canonicalName(reference: ImageReference): string {
  const { registry, path, tag, digest } = reference;
  return `${registry}/${path}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}

/** The shortest name that means the same, for people: `python`, `python:3.12`, `msb/python`. */
export function familiarName(reference: ImageReference): string {
  const { registry, path, tag, digest } = reference;
  const isDefault = registry === DEFAULT_REGISTRY && !path.startsWith(`${LOCAL_REGISTRY}/`);
  const short = isDefault ? path.replace(/^library\/(?=[^/]+$)/, "") : `${registry}/${path}`;
  const shownTag = tag === undefined || (tag === DEFAULT_TAG && digest === undefined) ? "" : `:${tag}`;
  return `${short}${shownTag}${digest === undefined ? "" : `@${digest}`}`;
}
