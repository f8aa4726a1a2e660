import { expect, test } from "vitest";
import { VolumeHolds } from "./holds.ts";

const a = { id: "1", name: "a" };
const b = { id: "2", name: "b" };
const data = (readOnly = false) => [{ name: "data", readOnly }];
const refused = (by: string) =>
  expect.objectContaining({ code: "invalid_state", message: expect.stringContaining(`'${by}'`) });

test("a volume has one writer, and the second hears who it is", () => {
  const holds = new VolumeHolds();
  holds.hold(a, data());
  expect(() => holds.hold(b, data())).toThrow(refused("a"));
  holds.release("1");
  holds.hold(b, data());
  expect(holds.holdersOf("data")).toEqual([b]);
});

test("or many readers, and never both", () => {
  const holds = new VolumeHolds();
  holds.hold(a, data(true));
  holds.hold(b, data(true));
  expect(() => holds.hold({ id: "3", name: "c" }, data())).toThrow(refused("a"));
  holds.release("1");
  holds.release("2");
  holds.hold(a, data());
  expect(() => holds.hold(b, data(true))).toThrow(refused("a"));
});

test("all or none", () => {
  const holds = new VolumeHolds();
  holds.hold(a, data());
  expect(() => holds.hold(b, [{ name: "other", readOnly: false }, ...data()])).toThrow(refused("a"));
  expect(holds.holdersOf("other")).toEqual([]);
});

test("who holds it already may hold it again", () => {
  const holds = new VolumeHolds();
  holds.hold(a, data());
  holds.hold(a, data());
  holds.release("1");
  expect(holds.holdersOf("data")).toEqual([]);
});

test("who is about to end is waited for, others are not", async () => {
  const holds = new VolumeHolds();
  holds.hold(a, data());
  holds.hold(b, [{ name: "other", readOnly: false }]);
  await holds.settled(data());
  expect(() => holds.assertFree(data())).toThrow(refused("a"));
  holds.ending("1");
  let free = false;
  const waiting = holds.settled([...data(), { name: "other", readOnly: true }]).then(() => {
    free = true;
  });
  await new Promise(setImmediate);
  expect(free).toBe(false);
  holds.release("1");
  await waiting;
  holds.assertFree(data());
});
