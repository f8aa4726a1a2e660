import { randomBytes, randomInt } from "node:crypto";
import type { SandboxRecord } from "./record.ts";

/** Who a sandbox is. Made on the host, handed to the guest in the first message after loading. */

const ADJECTIVES =
  "able bold brave bright brisk calm clear clever cool deep eager fair fast fine fresh glad grand green keen kind light lively lucky neat noble plain proud quick quiet rapid ready sharp shy smart soft solid spry still swift tidy true warm wise young".split(
    " ",
  );
const ANIMALS =
  "ant badger bat bear beaver bee bison crab crane crow deer dove duck eagle elk falcon finch fox frog gecko goat goose hare hawk heron ibis jay koala lark lion lynx mole moose moth newt otter owl panda puma quail raven robin seal shrew sloth snail stork swan tapir toad trout vole wasp whale wolf wren yak zebra".split(
    " ",
  );

/** 12 hex digits. */
export function newId(): string {
  return randomBytes(6).toString("hex");
}

/** A name that can be read out, e.g. `calm-otter-4f2a`. */
export function newName(): string {
  const pick = (words: string[]) => words[randomInt(words.length)]!;
  return `${pick(ADJECTIVES)}-${pick(ANIMALS)}-${randomBytes(2).toString("hex")}`;
}

/** What a guest is known by, machine-id(5); of one run of a sandbox, from its start to its stop. */
export function newMachineId(): string {
  return randomBytes(16).toString("hex");
}

/** What makes one loaded state differ from every other. Entropy: 64 bytes, twice what the kernel's generator is keyed with. */
export function identityOf({ name, spec, machineId }: Pick<SandboxRecord, "name" | "spec" | "machineId">) {
  return {
    entropy: randomBytes(64),
    hostname: spec.name ?? name,
    machineId: machineId ?? newMachineId(),
    timeNs: BigInt(Date.now()) * 1_000_000n,
  };
}
