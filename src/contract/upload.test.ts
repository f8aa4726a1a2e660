import { expect, test } from "vitest";
import { BUILD_HEADER } from "./build.ts";
import { BUILD_REQUEST_HEADER, IMAGE_CONFIG_HEADER } from "./upload.ts";

test("no header says two things", () => {
  // Once the build of the client and the request for a build were one: the daemon took it for another version and left.
  expect(new Set([BUILD_HEADER, BUILD_REQUEST_HEADER, IMAGE_CONFIG_HEADER]).size).toBe(3);
});
