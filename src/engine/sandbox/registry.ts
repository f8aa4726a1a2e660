import { SandboxError, type SandboxInfo, type SandboxSpec, type VolumeUser } from "../../contract/index.ts";
import type { Sandboxes } from "../engine.ts";
import { type Digest, type ImageConfig, isDigest } from "../image/index.ts";
import type { SandboxContext } from "./context.ts";
import { newName } from "./identity.ts";
import { volumesOf } from "./mounts.ts";
import { nextGroupNumber, nextLinkNumber } from "./network.ts";
import type { SandboxRecord } from "./record.ts";
import { Sandbox } from "./sandbox.ts";

/** The sandboxes that there are, by name and id; and what no two of them have: names, and numbers of links and group members. */
export class SandboxRegistry {
  readonly #context: SandboxContext;
  readonly #byId = new Map<string, Sandbox>();
  readonly #byName = new Map<string, Sandbox>();
  /** Names of those that are just being made. */
  readonly #reserved = new Set<string>();
  /** Numbers of links of VMs that are no sandboxes yet. */
  readonly #reservedLinks = new Set<number>();

  constructor(context: SandboxContext) {
    this.#context = context;
  }

  get all(): Sandbox[] {
    return [...this.#byId.values()];
  }

  list(filter: Parameters<Sandboxes["list"]>[0] = {}): SandboxInfo[] {
    const { states, labels } = filter;
    return this.all
      .map((sandbox) => sandbox.info)
      .filter((info) => states === undefined || states.includes(info.state))
      .filter((info) => Object.entries(labels ?? {}).every(([key, value]) => info.spec.labels[key] === value))
      .sort((a, b) => a.createdAt.localeCompare(b.createdAt));
  }

  /** Two creates of the same name at the same moment: one gets it. */
  #reserveName(asked: string | undefined): string {
    let name = asked ?? newName();
    while (asked === undefined && (this.#byName.has(name) || this.#reserved.has(name))) name = newName();
    if (this.#byName.has(name) || this.#reserved.has(name)) throw taken(name);
    this.#reserved.add(name);
    return name;
  }

  reserveNames(asked: string | undefined, count: number): { names: string[]; release(): void } {
    const names: string[] = [];
    const release = () => {
      for (const name of names) this.#reserved.delete(name);
    };
    try {
      for (let number = 1; number <= count; number++)
        names.push(this.#reserveName(asked === undefined || count === 1 ? asked : `${asked}-${number}`));
      return { names, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  numbersFor(spec: SandboxRecord["spec"]): Pick<SandboxRecord, "groupNumber" | "linkNumber"> {
    return { groupNumber: this.newGroupNumber(spec), linkNumber: this.#newLinkNumber() };
  }

  /** A number for the link of a VM that is to be a sandbox one day; held until it is released. */
  reserveLink(): { number: number; release(): void } {
    const number = this.#newLinkNumber();
    this.#reservedLinks.add(number);
    return { number, release: () => this.#reservedLinks.delete(number) };
  }

  #newLinkNumber(): number {
    return nextLinkNumber([...this.#reservedLinks, ...this.all.map(({ linkNumber }) => linkNumber)]);
  }

  newGroupNumber({ network: { group } }: Pick<SandboxSpec, "network">): number | undefined {
    if (group === undefined) return undefined;
    const taken = this.all.map(({ network }) => network.membership);
    return nextGroupNumber(group, taken);
  }

  add(record: SandboxRecord, image: ImageConfig): Sandbox {
    const sandbox = new Sandbox(this.#context, record, image, () => {
      this.#byId.delete(record.id);
      if (this.#byName.get(record.name) === sandbox) this.#byName.delete(record.name);
    });
    this.#byId.set(record.id, sandbox);
    this.#byName.set(record.name, sandbox);
    return sandbox;
  }

  find(ref: string): Sandbox {
    const sandbox = this.#byName.get(ref) ?? this.#byId.get(ref);
    if (sandbox !== undefined) return sandbox;
    throw new SandboxError("not_found", `there is no sandbox '${ref}'`, {
      hint: "'msb ls' lists those that there are.",
    });
  }

  /** Sandboxes that have the volume among their mounts, and those that are just being removed while their VM ends. */
  volumeUsers(volume: string): VolumeUser[] {
    return this.all.flatMap(({ info: { id, name, state, spec } }) =>
      volumesOf(spec.mounts)
        .filter((mount) => mount.name === volume)
        .map(({ readOnly }) => ({ id, name, state, readOnly })),
    );
  }

  /** Digests of the images that sandboxes stand on. */
  imagesInUse(): Digest[] {
    return this.all.map((sandbox) => sandbox.imageDigest).filter(isDigest);
  }
}

function taken(name: string): SandboxError {
  return new SandboxError("already_exists", `there is a sandbox '${name}' already`, {
    hint: `Choose another name, or remove it: msb rm --force ${name}`,
  });
}
