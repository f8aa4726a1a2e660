import fc from "fast-check";
import { expect, test } from "vitest";
import { SandboxError } from "../../contract/errors.ts";
import { canonicalName, familiarName, parseReference, parseRegistry } from "./reference.ts";

const D = `sha256:${"0123456789abcdef".repeat(4)}`;

// From distribution/reference's own tests, and our `msb/`.
test.each([
  ["python", "docker.io/library/python:latest", "python"],
  ["python:3.12", "docker.io/library/python:3.12", "python:3.12"],
  ["library/python", "docker.io/library/python:latest", "python"],
  ["docker.io/python", "docker.io/library/python:latest", "python"],
  ["index.docker.io/python", "docker.io/library/python:latest", "python"],
  ["owner/image", "docker.io/owner/image:latest", "owner/image"],
  ["localhost/image", "localhost/image:latest", "localhost/image"],
  ["localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b:t"],
  ["ghcr.io/o/i:v1", "ghcr.io/o/i:v1", "ghcr.io/o/i:v1"],
  ["[2001:db8::1]:5000/a", "[2001:db8::1]:5000/a:latest", "[2001:db8::1]:5000/a"],
  // One registry has one spelling, or a policy could be walked around.
  ["UPPER.example/a", "upper.example/a:latest", "upper.example/a"],
  ["ghcr.io:443/a", "ghcr.io/a:latest", "ghcr.io/a"],
  ["ghcr.io:0443/a", "ghcr.io/a:latest", "ghcr.io/a"],
  ["host.example:05000/a", "host.example:5000/a:latest", "host.example:5000/a"],
  ["registry:443/a", "registry:443/a:latest", "registry:443/a"],
  ["REGISTRY:0443/a", "registry:443/a:latest", "registry:443/a"],
  ["LOCALHOST/a", "localhost/a:latest", "localhost/a"],
  ["127.1:5000/a", "127.0.0.1:5000/a:latest", "127.0.0.1:5000/a"],
  ["[0:0::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a"],
  ["registry-1.docker.io/python", "docker.io/library/python:latest", "python"],
  ["Docker.io:443/python", "docker.io/library/python:latest", "python"],
  [`python@${D}`, `docker.io/library/python@${D}`, `python@${D}`],
  [`python:3@${D}`, `docker.io/library/python:3@${D}`, `python:3@${D}`],
  ["a__b.c-d--e", "docker.io/library/a__b.c-d--e:latest", "a__b.c-d--e"],
  ["msb/python", "msb/python:latest", "msb/python"],
  ["msb/python:3", "msb/python:3", "msb/python:3"],
  ["docker.io/msb/python", "docker.io/msb/python:latest", "docker.io/msb/python"],
])("%s", (text, canonical, familiar) => {
  const reference = parseReference(text);
  expect(canonicalName(reference)).toBe(canonical);
  expect(familiarName(reference)).toBe(familiar);
  expect(parseReference(canonical)).toEqual(reference);
  expect(parseReference(familiar)).toEqual(reference);
});

test.each([
  ["", 1, "empty"],
  ["Python", 1, "lower-case"],
  ["owner/Image", 7, "lower-case"],
  ["py thon", 3, '" "'],
  ["python:", 8, "tag is empty"],
  ["python:-x", 8, "does not begin"],
  ["python:a b", 9, "a tag is made of"],
  [`python:${"t".repeat(129)}`, 136, "128"],
  ["a//b", 3, "empty"],
  ["/a", 1, "empty"],
  ["a/", 3, "empty"],
  ["x/a..b", 3, "separator"],
  ["-a", 1, "begin and end"],
  ["a_", 1, "begin and end"],
  ["a.b-/c", 1, "no host name"],
  ["host:port/a", 1, "no host name"],
  ["host.example:99999/a", 1, "no host name"],
  ["[::::]/a", 1, "no host name"],
  ["256.1.1.1/a", 1, "no host name"],
  ["MSB/python", 1, "names are lower-case"],
  ["Owner/image", 1, "names are lower-case"],
  ["a@sha256:12", 3, "64"],
  ["a".repeat(256), 256, "255"],
  ["0".repeat(64), 1, "sha256:"],
])("%s is refused at character %d", (text, position, reason) => {
  const attempt = () => parseReference(text);
  expect(attempt).toThrow(expect.objectContaining({ code: "invalid_argument" }));
  expect(attempt).toThrow(reason);
  expect(attempt).toThrow(`(at character ${position})`);
});

test.each([
  ["ghcr.io", "ghcr.io"],
  ["GHCR.io:443", "ghcr.io"],
  ["https://index.docker.io/v1/", "docker.io"],
  ["http://localhost:5000/", "localhost:5000"],
  ["127.0.0.1:5000/v2", "127.0.0.1:5000"],
])("%s is the registry %s", (text, registry) => expect(parseRegistry(text)).toBe(registry));

test.each(["", "python", "msb", "a b.c", "ghcr.io/owner", "https://", "\u001b[2J.io"])(
  "%j is no registry",
  (text) =>
    expect(() => parseRegistry(text)).toThrow(
      expect.objectContaining({
        code: "invalid_argument",
        message: expect.stringContaining("names no registry"),
      }),
    ),
);

test("any text parses and comes back, or is invalid_argument", () => {
  const alphabet = fc.constantFrom(..."aB0./:@-_[] \0é", "msb/", "sha256:", D, "localhost");
  fc.assert(
    fc.property(fc.array(alphabet, { maxLength: 20 }), (parts) => {
      try {
        const reference = parseReference(parts.join(""));
        expect(parseReference(canonicalName(reference))).toEqual(reference);
        expect(parseReference(familiarName(reference))).toEqual(reference);
      } catch (error) {
        if (!(error instanceof SandboxError) || error.code !== "invalid_argument") throw error;
      }
    }),
    { numRuns: 5000, seed: 1 },
  );
});

test("long names take no long time", () => {
  const start = performance.now();
  for (const text of [
    "a".repeat(200_000),
    "a-".repeat(100_000),
    `${"a.".repeat(100_000)}/b`,
    "a:".repeat(100_000),
  ]) {
    expect(() => parseReference(text)).toThrow(SandboxError);
  }
  expect(performance.now() - start).toBeLessThan(1000);
});
