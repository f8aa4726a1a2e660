import { expect, test } from "vitest";
import { ProcessNumbers } from "./process-numbers.ts";

test("no number is given out before it is reserved, nor twice by a later daemon", () => {
  let kept = 0;
  const seen = new Set<number>();
  for (let daemon = 0; daemon < 3; daemon++) {
    const numbers = new ProcessNumbers(kept, (reserved) => {
      kept = reserved;
    });
    for (let i = 0; i < 300; i++) {
      const number = numbers.take();
      expect(number).toBeLessThan(kept);
      expect(seen.has(number)).toBe(false);
      seen.add(number);
    }
  }
});
