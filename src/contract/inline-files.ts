import { z } from "zod";
import { fileMode, fileOwner } from "./files.ts";
import { MAX_INLINE_BYTES } from "./inline-file-bounds.ts";

/** Small files that a spec brings along. They are put in place at the first start of a sandbox, before its first process. */

export const MAX_INLINE_FILES = 64;
export const DEFAULT_INLINE_MODE = 0o644;

const path = z
  .string()
  .max(4095)
  .regex(/^(?:\/[^/\0]+)+$/, "must be an absolute path without doubled or trailing slashes, and not /")
  .refine(
    (path) => !path.split("/").some((part) => part === "." || part === ".."),
    "must not contain '.' or '..'",
  )
  .meta({ description: "Where it is in the sandbox. Folders above it are made if they are missing." });
const mode = fileMode
  .default(DEFAULT_INLINE_MODE)
  .meta({ description: "Permission bits, as a number. Default: 644 octal." });

export const inlineFile = z
  .strictObject({
    path,
    text: z.string().max(MAX_INLINE_BYTES).optional().meta({ description: "What is in it." }),
    base64: z
      .base64()
      .max(Math.ceil(MAX_INLINE_BYTES / 3) * 4)
      .optional()
      .meta({ description: "What is in it, where that is no text." }),
    mode,
    owner: fileOwner.optional().meta({ description: "Its owner, as `user` or `user:group`. Default: root." }),
  })
  .refine(({ text, base64 }) => (text === undefined) !== (base64 === undefined), {
    message: "has either text or base64",
  })
  .meta({ id: "InlineFile" });
export type InlineFile = z.output<typeof inlineFile>;
export type InlineFileInput = z.input<typeof inlineFile>;

/** What is told of one: its contents may be a secret, and are kept only until they are in place. */
export const shownInlineFile = z
  .strictObject({ path, mode, owner: fileOwner.optional(), bytes: z.int() })
  .meta({ id: "ShownInlineFile" });
export type ShownInlineFile = z.output<typeof shownInlineFile>;

export const inlineFiles = z
  .array(inlineFile)
  .max(MAX_INLINE_FILES, `a spec brings at most ${MAX_INLINE_FILES} files`)
  .superRefine((files, ctx) => {
    const total = files.reduce((sum, file) => sum + contentsOf(file).length, 0);
    if (total > MAX_INLINE_BYTES) {
      const message = `${total} bytes in all, ${MAX_INLINE_BYTES} are allowed; write larger files once the sandbox runs, or mount a folder`;
      ctx.addIssue({ code: "custom", message });
    }
    for (const [i, { path }] of files.entries()) {
      if (files.findIndex((other) => other.path === path) === i) continue;
      ctx.addIssue({ code: "custom", message: `the file '${path}' is there twice`, path: [i] });
    }
  });

export function contentsOf({ text, base64 }: Pick<InlineFile, "text" | "base64">): Buffer {
  return base64 === undefined ? Buffer.from(text ?? "") : Buffer.from(base64, "base64");
}

/** What is told of them. */
export function shownFiles(files: readonly InlineFile[]): ShownInlineFile[] {
  return files.map((file) => {
    const { text: _, base64: __, ...shown } = file;
    return { ...shown, bytes: contentsOf(file).length };
  });
}
