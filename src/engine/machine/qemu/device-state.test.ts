import { expect, test } from "vitest";
import { joinDeviceState } from "./device-state.ts";

/** Streams as QEMU writes them, in small. */

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const HEADER = Buffer.concat([Buffer.from("QEVM"), u32(3)]);
const CONFIGURATION = Buffer.concat([Buffer.from([7]), u32(7), Buffer.from("microvm")]);

function section(id: number, name: string, data: string): Buffer {
  return Buffer.concat([
    ...[Buffer.from([4]), u32(id), Buffer.from([name.length]), Buffer.from(name), u32(0), u32(1)],
    ...[Buffer.from(data), Buffer.from([0x7e]), u32(id)],
  ]);
}

const RAM = Buffer.concat([
  Buffer.from([1]),
  u32(2),
  Buffer.from([3]),
  Buffer.from("ram"),
  u32(0),
  u32(4),
  Buffer.from("blocks"),
]);
const END = Buffer.from([0]);
const text = '{"devices":[]}';
const DESCRIPTION = Buffer.concat([Buffer.from([6]), u32(text.length), Buffer.from(text)]);
const head = Buffer.concat([HEADER, CONFIGURATION, RAM]);
const origin = Buffer.concat([head, section(0, "timer", "old"), section(1, "cpu", "old"), END, DESCRIPTION]);

test("a state has the memory's part and the description of the origin, and the devices as they are now", () => {
  const devices = [section(0, "timer", "new"), section(1, "cpu", "new and longer"), END];
  for (const configuration of [[], [CONFIGURATION]]) {
    const saved = Buffer.concat([HEADER, ...configuration, ...devices]);
    expect(joinDeviceState(origin, saved)).toEqual(Buffer.concat([head, ...devices, DESCRIPTION]));
  }
});

test("the joined state is an origin for the next", () => {
  const first = joinDeviceState(origin, Buffer.concat([HEADER, section(0, "timer", "1"), END]));
  const second = joinDeviceState(first, Buffer.concat([HEADER, section(0, "timer", "22"), END]));
  expect(second).toEqual(Buffer.concat([head, section(0, "timer", "22"), END, DESCRIPTION]));
});

test("an origin without a description needs none", () => {
  const plain = Buffer.concat([head, section(0, "timer", "old"), END]);
  const saved = Buffer.concat([HEADER, section(0, "timer", "new"), END]);
  expect(joinDeviceState(plain, saved)).toEqual(Buffer.concat([head, section(0, "timer", "new"), END]));
});

test.each([
  ["nothing", Buffer.alloc(0)],
  ["another file", Buffer.from("not a stream of QEMU's")],
  ["no device", Buffer.concat([HEADER, END])],
  ["no end", Buffer.concat([HEADER, section(5, "timer", "new")])],
  ["a first device that is cut off", Buffer.concat([HEADER, Buffer.from([4, 0, 0, 0, 0, 200, 0])])],
  ["a first device that the origin does not have", Buffer.concat([HEADER, section(0, "other", "x"), END])],
])("%s is refused", (_, saved) => {
  expect(() => joinDeviceState(origin, saved)).toThrow(expect.objectContaining({ code: "internal" }));
});

test("an origin that has the name of the first device twice is refused: it may be a guest's word", () => {
  const twice = Buffer.concat([
    head,
    section(0, "timer", "a"),
    section(1, "cpu", section(0, "timer", "b").toString("latin1")),
    END,
  ]);
  const saved = Buffer.concat([HEADER, section(0, "timer", "new"), END]);
  expect(() => joinDeviceState(twice, saved)).toThrow(expect.objectContaining({ code: "internal" }));
});
