import { Duplex, duplexPair } from "node:stream";
import { expect, test } from "vitest";
import { pump } from "./pump.ts";

test("a reader that does not take stops the writer; when it goes on, all of it arrives", async () => {
  let made = 0;
  const from = new Duplex({
    highWaterMark: 1000,
    read() {
      this.push(made < 100 ? Buffer.alloc(1000, made) : null);
      made += 1;
    },
    write: (_chunk, _encoding, done) => done(),
  });
  let arrived = 0;
  let blocked: (() => void) | undefined;
  let open = false;
  const to = new Duplex({
    highWaterMark: 1000,
    read() {},
    write(chunk, _encoding, done) {
      arrived += chunk.length;
      if (open) done();
      else blocked = done;
    },
  });
  const pumped = pump(from, to, (chunk) => [chunk]);
  await expect.poll(() => to.writableNeedDrain).toBe(true);
  expect(made).toBeLessThan(8);
  open = true;
  blocked!();
  await pumped;
  expect(arrived).toBe(100_000);
  expect(to.writableEnded).toBe(true);
});

test("a side that breaks rejects; what was read before has gone on", async () => {
  const [far, from] = duplexPair();
  const [near, to] = duplexPair();
  const pumped = pump(from, to, (chunk) => [chunk]);
  far.write("abc");
  await expect.poll(() => near.read()?.toString()).toBe("abc");
  from.destroy();
  await expect(pumped).rejects.toThrow();
  expect(to.writableEnded).toBe(false);
});

test("chunks that are held back keep their order, and the end waits for them", async () => {
  const [far, from] = duplexPair();
  const [near, to] = duplexPair();
  const held: (() => void)[] = [];
  const pumped = pump(from, to, async (chunk) => {
    await new Promise<void>((resolve) => held.push(resolve));
    return [chunk];
  });
  far.write("first ");
  await expect.poll(() => held.length).toBe(1);
  far.write("second");
  far.end();
  expect(near.read()).toBeNull();
  held[0]!();
  await expect.poll(() => held.length).toBe(2);
  expect(near.read()?.toString()).toBe("first ");
  expect(to.writableEnded).toBe(false);
  held[1]!();
  await pumped;
  expect(near.read()?.toString()).toBe("second");
  expect(to.writableEnded).toBe(true);
});

test("what is gone already, or goes while there is no room in it, rejects", async () => {
  const [, from] = duplexPair();
  const [, to] = duplexPair();
  from.destroy();
  await expect(pump(from, to, (chunk) => [chunk])).rejects.toThrow("broke off");

  const [far, reader] = duplexPair();
  const full = new Duplex({ highWaterMark: 1, read() {}, write() {} });
  const pumped = pump(reader, full, (chunk) => [chunk]);
  far.write("abc");
  await expect.poll(() => full.writableNeedDrain).toBe(true);
  full.destroy();
  await expect(pumped).rejects.toThrow("the other side is gone");
});
