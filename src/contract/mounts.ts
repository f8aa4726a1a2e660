import { z } from "zod";
import { volumeName } from "./names.ts";

/** What a sandbox has mounted beside its root: named volumes, folders of the daemon's host, and memory. */

export const MAX_MOUNTS = 16;
export const MAX_TMPFS_MIB = 1024 * 1024;
/** Size of a tmpfs, MiB, when none is asked for. */
export const DEFAULT_TMPFS_MIB = 64;
/** A mode as in chmod(2), with the sticky bit: everybody may write, as in /tmp. */
export const DEFAULT_TMPFS_MODE = 0o1777;
const MAX_UID = 2 ** 32 - 2;

/** The kernel's own file systems: nothing is mounted on them or below. */
const KERNEL_FOLDERS = ["/proc", "/sys", "/dev"];

/** An absolute path that says each thing once: no `.`, no `..`, no doubled and no trailing slash. */
const normalPath = z
  .string()
  .max(4096)
  .regex(/^(?:\/[^/\0]+)+$/, "must be an absolute path without doubled or trailing slashes, and not /")
  .refine(
    (path) => !path.split("/").some((part) => part === "." || part === ".."),
    "must not contain '.' or '..'",
  );

const target = normalPath
  .refine(
    (path) => !KERNEL_FOLDERS.some((folder) => path === folder || path.startsWith(`${folder}/`)),
    `must not be ${KERNEL_FOLDERS.join(", ")} or below`,
  )
  .meta({ description: "Where it is mounted in the sandbox. It is made if it is missing." });

const readOnly = z.boolean().default(false);

export const volumeMount = z
  .strictObject({
    type: z.literal("volume"),
    name: volumeName.meta({ description: "Name of the volume. One that does not exist is created." }),
    target,
    readOnly,
    dirSync: z.boolean().default(false).meta({
      description:
        "Whether a file that was made, removed or renamed is so on the disk at once, as with mount(8)'s `dirsync`, and not within seconds.",
    }),
  })
  .refine((mount) => !(mount.readOnly && mount.dirSync), "a volume that is only read has nothing to sync")
  .meta({ id: "VolumeMount" });

export const folderMount = z
  .strictObject({
    type: z.literal("folder"),
    source: z
      .string()
      .max(4096)
      .regex(/^\/[^\0]*$/, "must be an absolute path")
      .meta({ description: "Folder on the daemon's host." }),
    target,
    readOnly,
    uid: z.int().min(0).max(MAX_UID).optional().meta({ description: "Owner that its files show." }),
    gid: z.int().min(0).max(MAX_UID).optional().meta({ description: "Group that its files show." }),
    quotaMiB: z
      .int()
      .min(1)
      .max(1024 * 1024)
      .optional()
      .meta({ description: "How much the sandbox may write to it, MiB." }),
  })
  .meta({ id: "FolderMount" });

export const tmpfsMount = z
  .strictObject({
    type: z.literal("tmpfs"),
    target,
    sizeMiB: z.int().min(1).max(MAX_TMPFS_MIB).default(DEFAULT_TMPFS_MIB),
    mode: z
      .int()
      .min(0)
      .max(0o7777)
      .default(DEFAULT_TMPFS_MODE)
      .meta({ description: "Mode of its topmost folder, as a number. Default: 1777 octal." }),
  })
  .meta({ id: "TmpfsMount" });

export const mount = z.discriminatedUnion("type", [volumeMount, folderMount, tmpfsMount]);
export type Mount = z.output<typeof mount>;
export type MountInput = z.input<typeof mount>;
export type VolumeMount = z.output<typeof volumeMount>;
export type FolderMount = z.output<typeof folderMount>;
export type TmpfsMount = z.output<typeof tmpfsMount>;

export const mounts = z
  .array(mount)
  .max(MAX_MOUNTS, `a sandbox has at most ${MAX_MOUNTS} mounts`)
  .superRefine((list, ctx) => {
    const refuseTwice = (values: { value: string | undefined; what: string }[]) => {
      for (const [i, { value, what }] of values.entries()) {
        if (value === undefined || values.findIndex((other) => other.value === value) === i) continue;
        ctx.addIssue({ code: "custom", message: `${what} '${value}' is there twice`, path: [i] });
      }
    };
    refuseTwice(list.map((m) => ({ value: m.target, what: "the mount point" })));
    // One disk has one file system, and that has one mount point.
    refuseTwice(list.map((m) => ({ value: m.type === "volume" ? m.name : undefined, what: "the volume" })));
  });
