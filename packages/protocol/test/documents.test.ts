import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  type AgentProof,
  decodeAccept,
  decodeEnd,
  decodeGoaway,
  decodeHeader,
  decodeHello,
  decodeHopAck,
  decodeOpen,
  decodeProxyHeader,
  decodeReady,
  decodeRelays,
  decodeResume,
  decodeResumed,
  decodeU64,
  decodeWindow,
  ERRORS,
  encodeProxyHeader,
  FRAME_TYPE_NUMBERS,
  type FrameType,
  HEADER_BYTES,
} from "../src/index.ts";

const protocol = readFileSync(new URL("../../../docs/protocol.md", import.meta.url), "utf8");
const errors = readFileSync(new URL("../../../docs/errors.md", import.meta.url), "utf8");

const PAYLOADS: Readonly<Record<FrameType, (bytes: Uint8Array) => unknown>> = {
  HELLO: decodeHello,
  READY: decodeReady,
  PING: decodeU64,
  PONG: decodeU64,
  GOAWAY: decodeGoaway,
  HOPACK: decodeHopAck,
  RELAYS: decodeRelays,
  OPEN: decodeOpen,
  ACCEPT: decodeAccept,
  REJECT: decodeEnd,
  RESUME: decodeResume,
  RESUMED: decodeResumed,
  DATA: (bytes) => new TextDecoder().decode(bytes),
  WINDOW: decodeWindow,
  FIN: decodeU64,
  RESET: decodeEnd,
};

interface Example {
  readonly type: string;
  readonly bytes: Uint8Array;
}

const examples: readonly Example[] = [...protocol.matchAll(/```hex (\w+)\n([^`]+)```/g)].map(([, type, hex]) => ({
  type: type ?? "",
  bytes: Uint8Array.from(Buffer.from((hex ?? "").replaceAll(/\s/g, ""), "hex")),
}));

function decoded(type: FrameType): unknown[] {
  return examples.filter((each) => each.type === type).map((each) => PAYLOADS[type](each.bytes.subarray(HEADER_BYTES)));
}

test("docs/protocol.md has an example of every frame type, and its number in the table", () => {
  for (const [name, number] of Object.entries(FRAME_TYPE_NUMBERS)) {
    expect(examples.map((each) => each.type)).toContain(name);
    expect(protocol).toContain(`| \`0x${number.toString(16).padStart(2, "0")}\` | ${name} |`);
  }
});

test.each(examples)("the documented $type decodes, header and payload", ({ type, bytes }) => {
  const header = decodeHeader(bytes);
  expect(header.type).toBe(type);
  expect(bytes.length).toBe(HEADER_BYTES + header.length);
  if (header.type !== undefined) expect(PAYLOADS[header.type](bytes.subarray(HEADER_BYTES))).toBeDefined();
});

test("the documented frames say what the text beside them says", () => {
  expect(decoded("GOAWAY")).toEqual([
    { lastStreamId: 7, deadlineMs: 30_000, code: "CC_DRAINING", retryAfterMs: 1_000, text: "restart" },
  ]);
  expect(decoded("DATA")).toEqual(["hello"]);
  expect(decoded("RELAYS")).toEqual([3]);
  expect(decoded("WINDOW")).toEqual([
    { consumed: 5, windowBytes: 262_144 },
    { consumed: 6, windowBytes: 262_144 },
  ]);
  expect(decoded("FIN")).toEqual([5]);
  expect(decoded("REJECT")).toEqual([{ code: "CC_AGENT_OFFLINE", retryAfterMs: 2_000, text: "prod is offline" }]);
  expect(decoded("RESUMED")).toEqual([{ received: 9, consumed: 4, windowBytes: 262_144 }]);
  const [, agent, follower] = decoded("HELLO") as Array<{ role: string; agent?: AgentProof }>;
  expect(agent).toMatchObject({ role: "agent", agent: { clusterId: "a", authority: "relay.example.com" } });
  expect(follower).toMatchObject({ instanceId: "agent-02", agent: { follows: ["D".repeat(43)] } });
});

test("docs/protocol.md has a PROXY header that says what the text beside it says", () => {
  const [, hex = ""] = /```proxy-header\n([^`]+)```/.exec(protocol) ?? [];
  const bytes = Uint8Array.from(Buffer.from(hex.replaceAll(/\s/g, ""), "hex"));
  const origin = { address: "203.0.113.7", sessionId: "session-1", username: "alice" };
  expect(decodeProxyHeader(bytes)).toEqual({ kind: "complete", headerBytes: bytes.length, origin });
  expect(encodeProxyHeader(origin)).toEqual(bytes);
});

test("docs/errors.md lists exactly the codes of the table, in its order, with the same numbers and hints", () => {
  const rows = errors.split("\n").filter((line) => line.startsWith("| `CC_"));
  expect(rows).toEqual(
    Object.entries(ERRORS).map(
      ([code, { exit, http, wire, retry, hint }]) =>
        `| \`${code}\` | ${exit} | ${http} | ${wire ?? "–"} | ${retry ? "yes" : "no"} | ${hint} |`,
    ),
  );
});

test("no two codes share an exit code or a wire number", () => {
  const specs = Object.values(ERRORS);
  const wires = specs.flatMap((spec) => (spec.wire === undefined ? [] : [spec.wire]));
  expect(new Set(specs.map((spec) => spec.exit)).size).toBe(specs.length);
  expect(new Set(wires).size).toBe(wires.length);
});
