import { MAX_STREAM_ID } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { createStreamTable } from "../../src/session/stream-table.ts";
import type { StreamMember } from "../../src/stream/member.ts";

const MEMBER: StreamMember = { frame: () => undefined, turn: () => undefined, lost: () => undefined } as never;

test("a session opens a stream with the highest id that there is, and none after it", () => {
  expect(MAX_STREAM_ID).toBe(2_147_483_647);
  const table = createStreamTable("dialer", MAX_STREAM_ID - 2);
  expect([table.addOwn(MEMBER), table.addOwn(MEMBER)]).toEqual([MAX_STREAM_ID - 2, MAX_STREAM_ID]);
  expect(() => table.addOwn(MEMBER)).toThrow(expect.objectContaining({ code: "CC_DRAINING" }));
  expect(table.size).toBe(2);
});
