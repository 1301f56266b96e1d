import { parseSecret } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { instanceIdOf } from "../../src/index.ts";

test("an instance id is the beginning of a labelled hash of its secret, as docs/protocol.md says", () => {
  // printf 'clusterconnect.v1 instance\n%s' AAAA… | sha256sum, 16 bytes of it in base64url.
  expect(instanceIdOf(parseSecret("A".repeat(43)))).toBe("zYavJy1ASXWHbwmQnAqdMQ");
});

test("another secret is another instance", () => {
  const ids = ["A", "B", "C"].map((letter) => instanceIdOf(parseSecret(letter.repeat(43))));
  expect(new Set(ids).size).toBe(3);
});
