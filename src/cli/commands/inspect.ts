import { Command, Option } from "commander";
import { SandboxError } from "../../contract/errors.ts";
import { Image, Sandbox } from "../../sdk/index.ts";
import { printJson } from "../terminal.ts";

const HELP = `
Prints an object for one name, an array for several. A name that a sandbox and an image have is the sandbox's.

Examples:
  $ msb inspect box
  $ msb inspect box | jq .timings
  $ msb inspect python:3.12 | jq .config.env
  $ msb inspect --type image box`;

interface InspectFlags {
  type?: "sandbox" | "image";
}

export function command(): Command {
  return new Command("inspect")
    .description("Show all that is known of a sandbox or an image, as JSON.")
    .argument("<SANDBOX|IMAGE...>", "names or ids of sandboxes, names or digests of images")
    .addOption(new Option("--type <TYPE>", "look only for this").choices(["sandbox", "image"]))
    .option("--json", "print JSON; it does so anyway")
    .addHelpText("after", HELP)
    .action(async (refs: string[], { type }: InspectFlags) => {
      const found = await Promise.all(refs.map((ref) => inspect(ref, type)));
      printJson(found.length === 1 ? found[0] : found);
    });
}

async function inspect(ref: string, type: InspectFlags["type"]): Promise<unknown> {
  const sandbox = async () => (await Sandbox.get(ref)).info;
  if (type === "image") return Image.inspect(ref);
  return type === "sandbox" ? sandbox() : sandboxOrImage(ref, sandbox, () => Image.inspect(ref));
}

/** Asks for the sandbox of a name, and where there is none for its image. */
export async function sandboxOrImage<T, U>(
  ref: string,
  sandbox: () => Promise<T>,
  image: () => Promise<U>,
): Promise<T | U> {
  try {
    return await sandbox();
  } catch (error) {
    // An image's name may be longer than any sandbox's, which is `invalid_argument`.
    if (!isCode(error, "not_found", "invalid_argument")) throw error;
  }
  try {
    return await image();
  } catch (error) {
    if (!isCode(error, "not_found", "invalid_argument")) throw error;
    throw new SandboxError("not_found", `there is no sandbox and no image ${ref}`, {
      hint: "msb ls and msb images show what there is",
      cause: error,
    });
  }
}

function isCode(error: unknown, ...codes: SandboxError["code"][]): boolean {
  return error instanceof SandboxError && codes.includes(error.code);
}
