import { z } from "zod";

/** Changes of a sandbox's files, as they are told. */

export const FILE_CHANGES = ["created", "modified", "attributes", "removed", "moved", "overflow"] as const;

export const fileChange = z
  .object({
    type: z.enum(FILE_CHANGES).meta({
      description:
        "`attributes`: mode, owner, times or number of names. `overflow`: more happened than could be told; look at all of it again.",
    }),
    path: z.string().meta({
      description:
        "Relative to what is watched; empty for that itself and for `overflow`. `base64:…` if its bytes are no UTF-8.",
    }),
    from: z.string().optional().meta({
      description: "Of `moved`: the path that it had. Missing if that is not watched.",
    }),
    isFolder: z.boolean(),
  })
  .meta({ id: "FileChange" });
export type FileChange = z.output<typeof fileChange>;

/** Said first: whatever happens from now on is told. */
export const watchReady = z.object({ type: z.literal("ready") }).meta({ id: "WatchReady" });

export const MAX_WATCH_EXCLUDES = 32;
export const MAX_WATCH_EXCLUDE = 1024;

/** What is watched. */
export interface WatchFilesRequest {
  /** A folder, or a file, which is watched by its name: one that takes its place counts too. */
  path: string;
  /** Folders below too, also those that come. Default false. */
  recursive?: boolean | undefined;
  /** What is left out, with all that is in it: at most 32 patterns, as `glob` of a listing, of at most 1,024 characters. */
  exclude?: string[] | undefined;
}
