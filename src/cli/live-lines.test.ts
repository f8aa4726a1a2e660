import { expect, test } from "vitest";
import { LiveLines } from "./live-lines.ts";
import { Screen } from "./testing/screen.ts";

function open(columns = 20, rows = 10) {
  const screen = new Screen(columns, rows);
  return { screen, lines: new LiveLines(screen as unknown as NodeJS.WriteStream) };
}

test("lines change in place, and nothing above them does", () => {
  const { screen, lines } = open();
  screen.write("$ msb pull\n");
  lines.draw(["pulling", "one 10 MiB", "two 5 MiB"]);
  expect(screen.text).toBe("$ msb pull\npulling\none 10 MiB\ntwo 5 MiB");
  lines.draw(["pulling", "one", "two", "three"]);
  expect(screen.text).toBe("$ msb pull\npulling\none\ntwo\nthree");
  lines.draw(["done"]);
  expect(screen.text).toBe("$ msb pull\ndone");
  lines.wipe();
  screen.write("result\n");
  expect(screen.text).toBe("$ msb pull\nresult");
});

test("a line never wraps, and no more are drawn than fit", () => {
  const { screen, lines } = open(20, 5);
  lines.draw(["x".repeat(100), "漢".repeat(100), "3", "4", "5", "6"]);
  expect(screen.text).toBe(`${"x".repeat(18)}…\n${"漢".repeat(9)}…\n3\n4`);
});

test("a terminal that was made narrower is drawn upon as it is", () => {
  const { screen, lines } = open(40);
  screen.write("above\n");
  lines.draw(["x".repeat(39), "short", "y".repeat(29)]);
  screen.columns = 15;
  lines.draw(["a", "b"]);
  expect(screen.text).toBe("above\na\nb");
  screen.columns = 60;
  lines.draw(["wide again"]);
  expect(screen.text).toBe("above\nwide again");
});

test("wiping nothing writes nothing", () => {
  const { screen, lines } = open();
  screen.write("prompt");
  lines.wipe();
  screen.write("!");
  expect(screen.text).toBe("prompt!");
});
