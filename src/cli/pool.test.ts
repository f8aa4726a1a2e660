import { afterAll, beforeAll, expect, test } from "vitest";
import { TestHome } from "../sdk/testing/test-home.ts";
import { Msb } from "./testing/msb.ts";

let home: TestHome;
const msb = (...args: string[]) => {
  const { child, finished } = new Msb(home.env, args);
  child.stdin.end();
  return finished;
};
beforeAll(() => {
  home = new TestHome();
});
afterAll(() => home[Symbol.asyncDispose]());

test("pools are set, listed and removed", async () => {
  expect(await msb("pool", "set", "msb/base=3")).toMatchObject({ code: 0, stdout: "msb/base\n" });
  const larger = await msb("pool", "set", "--json", "--no-net", "-m", "1G", "-c", "2", "msb/base=1");
  expect(JSON.parse(larger.stdout)).toMatchObject([{ cpus: 2, memoryMiB: 1024, network: false, wanted: 1 }]);
  const { stdout } = await msb("pool", "ls");
  expect(stdout).toMatch(/^IMAGE +CPUS +MEMORY +NETWORK +READY +WANTED +FILLING +HITS +MISSES +NOTE *$/m);
  expect(stdout).toMatch(/^msb\/base +1 +256 MiB +yes +3 +3 +no +2 +1 *$/m);
  expect(stdout).toMatch(/^msb\/base +2 +1\.0 GiB +no +1 +1 /m);
  expect(await msb("pool", "rm", "msb/base")).toMatchObject({ code: 0, stdout: "msb/base\n" });
  expect(JSON.parse((await msb("pool", "ls", "--json")).stdout)).toEqual([]);
  expect(await msb("pool", "rm", "msb/base")).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/no pool of/),
  });
});

test("what does not say how many of which image is refused", async () => {
  for (const wrong of ["msb/base", "msb/base=0", "msb/base=x", "=3", "msb/base=10000"]) {
    const { code, stderr } = await msb("pool", "set", wrong);
    expect(code).toBe(1);
    expect(stderr).toContain("msb pool");
  }
});
