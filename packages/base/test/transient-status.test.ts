import { expect, test } from "vitest";
import { isTransientStatus } from "../src/transient-status.ts";

test.each([408, 425, 429, 500, 502, 503, 504, 520, 530, 599])("status %d passes by itself", (status) => {
  expect(isTransientStatus(status)).toBe(true);
});

test.each([200, 301, 400, 401, 403, 404, 407, 409, 410, 418, 424, 426, 499, 501, 505, 511, 600, 999])(
  "status %d stays",
  (status) => {
    expect(isTransientStatus(status)).toBe(false);
  },
);
