/** Who owns what is copied: `--chown=user:group`, by number, or by name as the image knows it. */

import { type ImageTree, isDirectory } from "../../image/index.ts";
import type { Word } from "../dockerfile/logical-text.ts";
import { unsupported, wrong } from "../dockerfile/position.ts";

export interface Owner {
  uid: number;
  gid: number;
}

/** `/etc/passwd` and `/etc/group` of an image are read up to this size. */
const MAX_BYTES = 1024 * 1024;

/**
 * As BuildKit has it: a number alone is user and group; of a name alone the group is the user's own.
 * @throws `invalid_argument` with the place if the image does not know the name
 */
export async function ownerOf(chown: Word, image: ImageTree): Promise<Owner> {
  const [user = "", group, ...rest] = chown.text.split(":");
  if (rest.length > 0 || user === "" || group === "") {
    throw wrong(chown.at, `${JSON.stringify(chown.text)} is not of the form USER or USER:GROUP`);
  }
  const known = isNumber(user)
    ? { uid: number(user, chown), gid: number(user, chown) }
    : await userOf(user, chown, image);
  if (group === undefined) return known;
  return { ...known, gid: isNumber(group) ? number(group, chown) : await groupOf(group, chown, image) };
}

/** `--chmod`: octal digits. */
export function modeOf(chmod: Word | undefined): number | undefined {
  if (chmod === undefined) return undefined;
  if (/^0?[0-7]{3,4}$/.test(chmod.text)) return Number.parseInt(chmod.text, 8);
  throw unsupported(chmod.at, `--chmod=${chmod.text} is not supported`, "Give octal digits, as --chmod=755.");
}

async function userOf(name: string, chown: Word, image: ImageTree): Promise<Owner> {
  for (const [user, , uid, gid] of await lines(image, "etc/passwd")) {
    if (user === name && isNumber(uid) && isNumber(gid)) return { uid: Number(uid), gid: Number(gid) };
  }
  throw wrong(
    chown.at,
    `the image has no user ${JSON.stringify(name)}`,
    "Make it in a step before, or give numbers.",
  );
}

async function groupOf(name: string, chown: Word, image: ImageTree): Promise<number> {
  for (const [group, , gid] of await lines(image, "etc/group")) {
    if (group === name && isNumber(gid)) return Number(gid);
  }
  throw wrong(
    chown.at,
    `the image has no group ${JSON.stringify(name)}`,
    "Make it in a step before, or give numbers.",
  );
}

async function lines(image: ImageTree, path: string): Promise<string[][]> {
  const file = image.lookup(path)?.inode;
  if (file === undefined || isDirectory(file) || file.type !== "file" || file.size > MAX_BYTES) return [];
  const text = (await image.readSmall(file, MAX_BYTES)).toString("utf8");
  return text.split("\n").map((line) => line.split(":"));
}

const isNumber = (value: string | undefined): value is string =>
  value !== undefined && /^[0-9]{1,10}$/.test(value);

function number(value: string, chown: Word): number {
  if (Number(value) > 0xffff_fffe) throw wrong(chown.at, `${value} is no number of a user or group`);
  return Number(value);
}
