import { expect, test } from "vitest";
import { isTransientAnswer } from "../../src/tokens/transient-answer.ts";

test.each([
  [500, undefined],
  [503, "invalid_grant"],
  [599, undefined],
  [408, undefined],
  [425, undefined],
  [429, undefined],
  [400, "temporarily_unavailable"],
  [400, "server_error"],
  [undefined, "temporarily_unavailable"],
])("an answer with status %s and error %s passes by itself", (status, error) => {
  expect(isTransientAnswer(status, error)).toBe(true);
});

test.each([
  [499, undefined],
  [400, "invalid_grant"],
  [401, "invalid_client"],
  [400, undefined],
  [403, 500],
  [undefined, "access_denied"],
  [undefined, undefined],
])("an answer with status %s and error %s stays", (status, error) => {
  expect(isTransientAnswer(status, error)).toBe(false);
});
