import { SandboxError } from "../../../contract/errors.ts";
import type { IpAddress } from "../../../contract/ip-address.ts";
import { GroupMember, type MemberOptions, type Members } from "./member.ts";

/** The groups whose sandboxes run, and who is in them. Groups have the same addresses and know nothing of each other. */
export class Groups {
  readonly #groups = new Map<string, Group>();

  /**
   * A group is made with its first member and goes with its last.
   * @throws `internal` if a member has that name or one of these addresses
   */
  join(name: string, options: MemberOptions): GroupMember {
    const group = this.#groups.get(name) ?? new Group(() => this.#groups.delete(name));
    const member = group.join(options);
    this.#groups.set(name, group);
    return member;
  }
}

class Group implements Members {
  readonly #byName = new Map<string, GroupMember>();
  readonly #byAddress = new Map<string, GroupMember>();
  readonly #empty: () => void;

  constructor(empty: () => void) {
    this.#empty = empty;
  }

  join(options: MemberOptions): GroupMember {
    const member = new GroupMember(options, this);
    const { name, addresses } = member.fellow;
    if (this.#byName.has(name) || addresses.some(({ text }) => this.#byAddress.has(text)))
      throw new SandboxError("internal", `the group of '${name}' has a member of its name or its address`);
    this.#byName.set(name, member);
    for (const { text } of addresses) this.#byAddress.set(text, member);
    return member;
  }

  at(address: IpAddress): GroupMember | undefined {
    return this.#byAddress.get(address.text);
  }

  named(name: string): GroupMember | undefined {
    return this.#byName.get(name);
  }

  leave(member: GroupMember): void {
    const { name, addresses } = member.fellow;
    if (this.#byName.get(name) !== member) return;
    this.#byName.delete(name);
    for (const { text } of addresses) this.#byAddress.delete(text);
    if (this.#byName.size === 0) this.#empty();
  }
}
