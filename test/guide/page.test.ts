import { expect, test } from "vitest";
import { commandsOf, examplesOf, loggedBy, prints } from "./page.ts";

const PAGE = `
Text.

<!-- before: msb create --name box msb/base -->

<!-- varies -->

\`\`\`console
$ msb ls        # all of them
NAME  AGE
box   1 s
$ msb rm box
\`\`\`

<!-- not run: it needs a registry -->

\`\`\`console
$ msb pull alpine
\`\`\`

\`\`\`json
{}
\`\`\`

\`\`\`ts
console.log(6 * 7); // 42
\`\`\`
`;

test("a page's examples are its blocks, with what stands above them", () => {
  const examples = examplesOf(PAGE);
  expect(examples).toEqual([
    expect.objectContaining({
      language: "console",
      line: 8,
      before: ["msb create --name box msb/base"],
      varies: true,
    }),
    { language: "ts", line: 25, before: [], varies: false, source: "console.log(6 * 7); // 42" },
  ]);
  expect(loggedBy(examples[1]!)).toEqual(["42"]);
  expect(commandsOf(examples[0]!)).toEqual([
    { text: "msb ls        # all of them", prints: "NAME  AGE\nbox   1 s" },
    { text: "msb rm box", prints: undefined },
  ]);
});

test.each([
  ["5050", "5050\n", false, true],
  ["5050", "5051\n", false, false],
  ["a … c", "a b c\n", false, true],
  ["a … c", "a b d\n", false, false],
  ["a.c", "abc\n", false, false],
  ["box  61.3 MiB  0:01:12", "box    4 KiB  0:00:01\n", true, true],
  ["box  61.3 MiB", "other  61.3 MiB\n", true, false],
])("%j shows what prints %j (varies: %j): %j", (shown, printed, varies, expected) => {
  expect(prints(shown, printed, varies)).toBe(expected);
});
