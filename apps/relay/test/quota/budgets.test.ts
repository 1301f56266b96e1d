import { createMetrics } from "@cluster-connect/service";
import { expect, test } from "vitest";
import { createBudgets } from "../../src/quota/budgets.ts";

test("sessions together hold as many bytes as the mebibytes say, of windows and of buffers, and metrics say how many", async () => {
  const metrics = createMetrics({ service: "relay" });
  const { windows, buffers } = createBudgets({ bufferMebibytes: 2 }, metrics);
  expect([windows?.reserve(2_097_152), windows?.reserve(1)]).toEqual([true, false]);
  expect([buffers?.reserve(2_097_152), buffers?.reserve(1)]).toEqual([true, false]);
  expect(await metrics.text()).toMatch(/^cluster_connect_buffered_bytes\S* 2097152$/m);
});
