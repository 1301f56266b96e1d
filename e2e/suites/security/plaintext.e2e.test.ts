import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort } from "../../src/process/free-port.ts";
import { findInMemory } from "../support/process-memory.ts";
import { type Person, useStack } from "../support/stack.ts";
import { startTap, type Tap } from "../support/wire/tap.ts";
import { payloadOf } from "../support/wire/websocket-payload.ts";

let tap: Tap;
let admin: Person;
const marker = `marker-${randomBytes(12).toString("hex")}`;

// The relay is without TLS here, so that the tap reads exactly what the relay reads.
const suite = useStack(async () => {
  const port = await freePort();
  tap = await startTap(port);
  return { relayBehind: { publicUrl: tap.url, port } };
});

beforeAll(async () => {
  admin = await suite().signIn("admin");
  const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "marked" }, data: { marker } };
  expect(await admin.run("kubectl", ["create", "-n", "default", "-f", "-"], JSON.stringify(object))).toMatchObject({
    code: 0,
  });
  const read = await admin.run("kubectl", [
    "get",
    "configmap",
    "marked",
    "-n",
    "default",
    "-o",
    "jsonpath={.data.marker}",
  ]);
  expect(read.stdout).toBe(marker);
});

afterAll(() => tap?.stop());

test("what a person sends and reads is nowhere in the bytes that the relay receives or sends", () => {
  const said = tap.connections.flatMap(({ fromDialer, fromRelay }) => [payloadOf(fromDialer), payloadOf(fromRelay)]);
  const seen = (text: string): boolean => said.some((bytes) => bytes.includes(text));
  // The streams themselves went this way, and could be read if they were not encrypted.
  expect(seen('"upstream":"kubernetes"')).toBe(true);
  expect(seen("/v1/agent")).toBe(true);
  expect(seen("demo.clusters.cluster-connect.internal")).toBe(true); // the name in the TLS ClientHello
  expect(seen(marker)).toBe(false);
  expect(seen("/api/v1/namespaces")).toBe(false);
});

test("the token for the cluster never reaches the relay", async () => {
  const printed = await admin.cli.run(["credential"]);
  const token = /"token":"([^"]+)"/.exec(printed.stdout)?.[1] ?? "";
  expect(token.split(".")).toHaveLength(3);
  const said = tap.connections.flatMap(({ fromDialer, fromRelay }) => [payloadOf(fromDialer), payloadOf(fromRelay)]);
  expect(said.some((bytes) => bytes.includes(token))).toBe(false);
});

test("the marker is nowhere in the relay's memory", async ({ skip }) => {
  const words = [marker, "clusterconnect.v1"];
  const found = await findInMemory(suite().stack.relay.program.pid, words).catch(() =>
    skip("no access to /proc/PID/mem"),
  );
  expect([...found]).toEqual(["clusterconnect.v1"]);
});
