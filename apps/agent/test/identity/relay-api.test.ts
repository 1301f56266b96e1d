import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { postEnrollment } from "../../src/identity/relay-api.ts";

const ANSWER = JSON.stringify({ clusterId: "prod", keyId: "k".repeat(43), relayId: "relay-0001" });
const signal = new AbortController().signal;

test("a relay's answer may have as many bytes as are read, and with one more it is given up", async () => {
  const answer = { bytes: 65_536 };
  const server = createServer((_request, response) => void response.end(ANSWER.padEnd(answer.bytes)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const enroll = () => {
    const body = { code: "cc1-test", publicKey: "p", clusterAuthorities: "c" };
    return postEnrollment(new URL(`http://127.0.0.1:${port}`), body, { signal }, { env: {} });
  };
  await expect(enroll()).resolves.toMatchObject({ clusterId: "prod" });
  answer.bytes += 1;
  await expect(enroll()).rejects.toMatchObject({ code: "CC_RELAY_UNREACHABLE" });
});
