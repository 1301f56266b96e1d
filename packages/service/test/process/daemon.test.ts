import { ConnectError, ERRORS } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { exitCodeOf, readSoftware } from "../../src/index.ts";

test("a task that ends gives its exit code, one that fails its error's, with text and hint on stderr", async () => {
  const lines: string[] = [];
  const stderr = (line: string): void => void lines.push(line);
  expect(await exitCodeOf(async () => 7, { stderr })).toBe(7);
  expect(lines).toEqual([]);
  const failing = async (): Promise<number> => {
    throw new ConnectError("CC_FILE_MISSING", "There is no file x");
  };
  expect(await exitCodeOf(failing, { stderr })).toBe(ERRORS.CC_FILE_MISSING.exit);
  expect(lines).toEqual([`error: There is no file x (CC_FILE_MISSING)\nhint: ${ERRORS.CC_FILE_MISSING.hint}`]);
});

test("product and version come from the package's own file", () => {
  expect(readSoftware("daemon", new URL("../../package.json", import.meta.url))).toMatch(/^daemon\/\d+\.\d+\.\d+/);
});
