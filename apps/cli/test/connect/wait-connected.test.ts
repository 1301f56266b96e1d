import { ConnectError } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { type SeenCluster, waitConnected } from "../../src/connect/wait-connected.ts";

const options = { timeoutSeconds: 30, signal: new AbortController().signal };

function answers(...given: readonly (SeenCluster | Error | undefined)[]): () => Promise<SeenCluster | undefined> {
  let turn = 0;
  return async () => {
    const answer = given[Math.min(turn, given.length - 1)];
    turn += 1;
    if (answer instanceof Error) throw answer;
    return answer;
  };
}

test("it goes on until the relay's probe has come back, also when the relay is away for a moment", async () => {
  const away = new ConnectError("CC_RELAY_UNREACHABLE", "relay: ECONNREFUSED");
  const look = answers(away, { status: "connected", reason: null });
  await expect(waitConnected("prod", options, look)).resolves.toBe("connected");
});

test("what does not pass by waiting ends it", async () => {
  const refused = new ConnectError("CC_TOKEN_INVALID", "no");
  await expect(waitConnected("prod", options, answers(refused))).rejects.toBe(refused);
});

test("at the end it says which hop is missing", async () => {
  const look = answers({ status: "degraded", reason: "the auth proxy does not answer" });
  await expect(waitConnected("prod", { ...options, timeoutSeconds: 0.1 }, look)).rejects.toMatchObject({
    code: "CC_AGENT_OFFLINE",
    message: "prod is installed, but not connected: degraded, the auth proxy does not answer",
  });
});
