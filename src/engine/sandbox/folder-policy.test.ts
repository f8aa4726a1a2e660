import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FolderPolicy } from "./folder-policy.ts";

let base: string;
let policy: FolderPolicy;
beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), "msb-folder-policy-")));
  for (const folder of ["home/run", "src/secret", "src/app", "data/deep", "other", "srcery"])
    mkdirSync(at(folder), { recursive: true });
  writeFileSync(at("file"), "");
  policy = new FolderPolicy(at("home/mounts.json"), at("home"));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const at = (name: string) => join(base, name);
const write = (value: unknown) =>
  writeFileSync(at("home/mounts.json"), typeof value === "string" ? value : JSON.stringify(value));
const check = (name: string, readOnly = false) => policy.check({ source: at(name), readOnly });
const denied = (entry: string) =>
  expect.objectContaining({
    code: "permission_denied",
    hint: expect.stringContaining(`The entry "${entry}" of ${at("home/mounts.json")} says so.`),
    details: { policy: at("home/mounts.json"), entry },
  });

describe("without mounts.json", () => {
  test("any folder may be mounted, under the name that it has in truth", () => {
    symlinkSync(at("src"), at("link"));
    expect(check("link/app")).toBe(at("src/app"));
  });

  test.each([
    ["missing", "not_found"],
    ["file/below", "not_found"],
    ["file", "invalid_argument"],
    ["home", "permission_denied"],
    ["home/run", "permission_denied"],
    ["", "permission_denied"],
  ])("but not '%s': %s", (name, code) => {
    expect(() => check(name)).toThrow(expect.objectContaining({ code }));
  });

  test("nor the daemon's home through a link", () => {
    symlinkSync(at("home/run"), at("link"));
    expect(() => check("link")).toThrow(expect.objectContaining({ code: "permission_denied" }));
  });
});

describe("with mounts.json", () => {
  beforeEach(() =>
    write({
      default: { allow: false },
      folders: {
        [at("src")]: {},
        [at("src/secret")]: { allow: false },
        [at("src/app")]: {},
        [at("data")]: { readOnly: true },
      },
    }),
  );

  test("the longest entry holds", () => {
    expect(check("src/app")).toBe(at("src/app"));
    expect(check("data/deep", true)).toBe(at("data/deep"));
    expect(() => check("src/secret", true)).toThrow(denied(at("src/secret")));
    expect(() => check("other", true)).toThrow(denied("default"));
    // A path that only begins like another.
    expect(() => check("srcery", true)).toThrow(denied("default"));
  });

  test("what is only for reading is not mounted for writing, and the hint says how it is", () => {
    expect(() => check("data/deep")).toThrow(denied(at("data")));
    expect(() => check("data/deep")).toThrow(
      expect.objectContaining({ hint: expect.stringContaining(":ro") }),
    );
  });

  test("a folder that holds a forbidden one, or one that is only for reading, gives it away", () => {
    expect(() => check("src", true)).toThrow(denied(at("src/secret")));
    write({ folders: { [at("data/deep")]: { readOnly: true } } });
    expect(() => check("data")).toThrow(denied(at("data/deep")));
    expect(check("data", true)).toBe(at("data"));
    // One that somebody may make later too.
    write({ folders: { [at("other/later/deep")]: { allow: false } } });
    expect(() => check("other", true)).toThrow(denied(at("other/later/deep")));
  });

  test("links are what they lead to, in what is asked for and in the file", () => {
    symlinkSync(at("src/secret"), at("other/innocent"));
    write({ folders: { [at("src/secret")]: { allow: false } } });
    expect(() => check("other/innocent")).toThrow(denied(at("src/secret")));
    symlinkSync(at("data"), at("alias"));
    write({ folders: { [at("data")]: {}, [at("alias")]: { allow: false } } });
    expect(() => check("data/deep")).toThrow(denied(at("alias")));
  });

  test("an entry for / is about all folders, and the daemon's home stays refused", () => {
    write({ default: { allow: false }, folders: { "/": {}, [at("home")]: {} } });
    expect(check("other")).toBe(at("other"));
    expect(() => check("home/run")).toThrow(expect.objectContaining({ code: "permission_denied" }));
  });

  test("a change of the file holds at once", () => {
    expect(() => check("other")).toThrow(denied("default"));
    write({});
    expect(check("other")).toBe(at("other"));
  });

  test.each([
    ["{", /mounts\.json is not valid/],
    [{ folders: { relative: {} } }, /folders\.relative.*absolute path/],
    [{ folders: { "/a/../b": {} } }, /folders\.\/a\/\.\.\/b.*no '\.\.'/],
    [{ folders: { "/a//b": {} } }, /doubled slash/],
    [{ folders: { "/a": { readonly: true } } }, /folders\.\/a: .*readonly/],
    [{ default: { allow: "no" } }, /default\.allow/],
    [{ folder: {} }, /folder/],
  ])("a file that is not valid stops mounts, and the place is named: %#", (value, message) => {
    write(value);
    expect(() => check("other")).toThrow(
      expect.objectContaining({ code: "invalid_argument", message: expect.stringMatching(message) }),
    );
  });
});
