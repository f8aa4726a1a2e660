import { z } from "zod";

/** Files of a sandbox: what is asked of them, and what is told. */

/** The kernel's bound for a path, its end included. */
export const MAX_PATH_BYTES = 4096;

const anyPath = (pattern: RegExp, message: string) =>
  z
    .string()
    .max(2 * MAX_PATH_BYTES)
    .regex(pattern, message)
    .refine((path) => path.isWellFormed(), "must not contain a lone surrogate");

export const filePath = anyPath(
  /^(?:\/[^\0]*|base64:[A-Za-z0-9+/]+={0,2})$/,
  "must be an absolute path in the sandbox",
).meta({
  description: "Absolute path in the sandbox; `base64:…` if its bytes are no UTF-8.",
  example: "/etc/hosts",
});
const linkTarget = anyPath(/^[^\0]+$/, "must not be empty").meta({
  description: "What the link leads to; `base64:…` if its bytes are no UTF-8.",
});

export const fileMode = z.int().min(0).max(0o7777);
export const fileOwner = z
  .string()
  .max(256)
  .regex(/^(?:[^\0\n:]+(?::[^\0\n:]+)?|:[^\0\n:]+)$/, "must be user, user:group or :group")
  .meta({ description: "`user`, `user:group` or `:group`; names of the sandbox, or numbers." });
export const fileUser = z
  .string()
  .max(256)
  .regex(/^[^\0\n]+$/)
  .meta({ description: "Act as this user: `name`, `uid`, `name:group` or `uid:gid`. Default: root." });

export const FILE_TYPES = ["file", "directory", "symlink", "char", "block", "fifo", "socket"] as const;
export type FileType = (typeof FILE_TYPES)[number];

export const fileStat = z
  .object({
    type: z.enum(FILE_TYPES),
    size: z.int(),
    mode: fileMode.meta({ description: "Permission bits, setuid, setgid and sticky." }),
    uid: z.int(),
    gid: z.int(),
    links: z.int().meta({ description: "Names that it has." }),
    diskBytes: z.int().meta({ description: "What it takes on the disk; less than `size` if it has holes." }),
    mtimeMs: z
      .number()
      .meta({ description: "When its contents changed, Unix time in milliseconds, with a fraction." }),
    atimeMs: z.number(),
    ctimeMs: z.number(),
    target: z.string().optional().meta({ description: "Where a link leads." }),
  })
  .meta({ id: "FileStat" });
export type FileStat = z.output<typeof fileStat>;

export const fileEntry = fileStat
  .extend({ path: z.string().meta({ description: "Relative to the folder that is listed." }) })
  .meta({ id: "FileEntry" });
export type FileEntry = z.output<typeof fileEntry>;

export const diskUsage = z
  .object({
    diskBytes: z.int().meta({ description: "What it takes on the disk." }),
    apparentBytes: z.int().meta({ description: "Sum of the files' sizes." }),
    entries: z.int(),
  })
  .meta({ id: "DiskUsage" });
export type DiskUsage = z.output<typeof diskUsage>;

const on = { path: filePath, user: fileUser.optional() };
const flag = z.boolean().default(false);

/** What is asked and answered with JSON. */
export const fileOperation = z
  .discriminatedUnion("op", [
    z.strictObject({ op: z.literal("stat"), ...on }),
    z.strictObject({ op: z.literal("lstat"), ...on }),
    z.strictObject({ op: z.literal("readlink"), ...on }),
    z.strictObject({
      op: z.literal("mkdir"),
      ...on,
      parents: flag.meta({ description: "Make those above it too; then one that is there is no error." }),
      mode: fileMode.optional(),
    }),
    z.strictObject({
      op: z.literal("remove"),
      ...on,
      recursive: flag,
      force: flag.meta({ description: "That there is nothing is no error." }),
    }),
    z.strictObject({ op: z.literal("rename"), ...on, to: filePath }),
    z.strictObject({
      op: z.literal("copy"),
      ...on,
      to: filePath,
      recursive: flag,
      preserve: flag.meta({ description: "Keep owners and times." }),
      overwrite: flag,
      follow: flag.meta({ description: "Copy what a link leads to in place of the link." }),
    }),
    z.strictObject({ op: z.literal("symlink"), ...on, target: linkTarget }),
    z.strictObject({ op: z.literal("chmod"), ...on, mode: fileMode, recursive: flag }),
    z.strictObject({ op: z.literal("chown"), ...on, owner: fileOwner, recursive: flag, nofollow: flag }),
    z.strictObject({
      op: z.literal("utimes"),
      ...on,
      mtimeMs: z.number().optional(),
      atimeMs: z.number().optional(),
      nofollow: flag,
    }),
    z.strictObject({ op: z.literal("truncate"), ...on, size: z.int().min(0).default(0) }),
    z.strictObject({ op: z.literal("usage"), ...on }),
  ])
  .meta({ id: "FileOperation" });
export type FileOperationInput = z.input<typeof fileOperation>;
export type FileOperation = z.output<typeof fileOperation>;

export const fileResult = z
  .object({
    stat: fileStat.optional().meta({ description: "Of stat and lstat." }),
    target: z.string().optional().meta({ description: "Of readlink." }),
    usage: diskUsage.optional().meta({ description: "Of usage." }),
  })
  .meta({ id: "FileResult" });
export type FileResult = z.output<typeof fileResult>;

/** How a file is read. */
export interface ReadFileRequest {
  path: string;
  user?: string | undefined;
  /** Default 0. */
  offset?: number | undefined;
  /** Default: to its end. */
  length?: number | undefined;
}

/** How a file is written. */
export interface WriteFileRequest {
  path: string;
  user?: string | undefined;
  /** Where to begin; what is there stays. Default: it is written anew. */
  offset?: number | undefined;
  append?: boolean | undefined;
  /** Default: true. */
  create?: boolean | undefined;
  /** Refuse one that is there. */
  exclusive?: boolean | undefined;
  /** Write beside it and put it in place when it is whole. */
  atomic?: boolean | undefined;
  /** Have it on the disk before the answer. */
  sync?: boolean | undefined;
  mode?: number | undefined;
  owner?: string | undefined;
}

/** What is listed. */
export interface ListFilesRequest {
  path: string;
  user?: string | undefined;
  /** Folders below too. */
  recursive?: boolean | undefined;
  /** 1 is the folder itself; at most 512. */
  depth?: number | undefined;
  glob?: string | undefined;
}

/** What is packed as a tar. */
export interface PackFilesRequest {
  path: string;
  /** If the path is a link, pack what it leads to. Links below are never followed. */
  follow?: boolean | undefined;
}

/** Where a tar is put, and whose it becomes. */
export interface ExtractFilesRequest {
  /** A folder that is there. */
  path: string;
  /** Default 0. */
  uid?: number | undefined;
  /** Default 0. */
  gid?: number | undefined;
  /** Take the owners from the tar, by number. Default false. */
  keepOwners?: boolean | undefined;
}
