import { existsSync } from "node:fs";

/**
 * Where the program of a thread is: as source where it is named; in `dist/`, in its top folder under its bundle's name, while who asks may
 * be in a chunk below.
 * @param asker `import.meta.url` of who starts it
 */
export function threadProgram(asker: string, source: string, bundle: string): URL {
  if (asker.endsWith(".ts")) return new URL(source, asker);
  const [here, above] = [`./${bundle}.js`, `../${bundle}.js`].map((path) => new URL(path, asker));
  return existsSync(here!) ? here! : above!;
}
