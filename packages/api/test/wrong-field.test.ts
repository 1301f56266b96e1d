import { expect, test } from "vitest";
import { z } from "zod";
import { CLUSTERS_ANSWER, ENROLLED_KEY, RELAY_INFO } from "../src/index.ts";
import { wrongField } from "../src/wrong-field.ts";

const said = (schema: z.ZodType, answer: unknown): string => {
  const parsed = schema.safeParse(answer);
  return parsed.success ? "taken" : wrongField(parsed.error);
};

test.each<readonly [string, z.ZodType, unknown, string]>([
  ["an object's field", RELAY_INFO, { relayId: "r", software: 7, login: null }, " (software)"],
  ["a field of an entry", CLUSTERS_ANSWER, { clusters: [{ id: "NOT AN ID" }] }, " (clusters.0.id)"],
  ["a field that is missing", ENROLLED_KEY, {}, " (clusterId)"],
  ["the answer as a whole", RELAY_INFO, "<html>", ""],
  ["no answer", RELAY_INFO, undefined, ""],
])("%s is named", (_what, schema, answer, words) => {
  expect(said(schema, answer)).toBe(words);
});

test("a name that another side chose is shown only where it is one, and not in full length", () => {
  const anything = z.record(z.string(), z.number());
  expect(said(anything, { "\u001b[2J": "x" })).toBe("");
  expect(said(anything, { "a token?": "x" })).toBe("");
  expect(said(anything, { ["k".repeat(80)]: "x" })).toBe(` (${"k".repeat(80)})`);
  expect(said(anything, { ["k".repeat(81)]: "x" })).toBe(` (${"k".repeat(80)})`);
});
