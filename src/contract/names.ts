import { z } from "zod";

/**
 * Names that users give. Lower case and without separators that a shell, a path, a URL or a host name would
 * read as something else.
 */
const label = (what: string) =>
  z
    .string()
    .regex(
      /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
      `${what} has 1 to 63 lower-case letters, digits and hyphens, and starts and ends with a letter or digit`,
    );

/** A sandbox's name is also its host name by default. */
export const sandboxName = label("a name");

/** A volume's name is a folder's too. */
export const volumeName = label("a volume's name");

/** A prepared snapshot's name is used as an image's. */
export const snapshotName = label("a snapshot's name");

/** A group of sandboxes; their names are host names within it. */
export const groupName = label("a group's name");

/** A snapshot is addressed by its name or by its id. */
export const snapshotRef = z.string().min(1).max(64);

/** A sandbox is addressed by its name or by its id. */
export const sandboxRef = z.string().min(1).max(64);
