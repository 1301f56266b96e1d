import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { CUT } from "../../src/faults/cut.ts";
import { delay } from "../../src/faults/delay.ts";
import { type FaultProxy, startFaultProxy } from "../../src/faults/fault-proxy.ts";
import { HALF_OPEN } from "../../src/faults/half-open.ts";
import { STALL } from "../../src/faults/stall.ts";

interface World {
  readonly proxy: FaultProxy;
  /** A link through the proxy: its two ends. */
  join(): Promise<readonly [Socket, Socket]>;
}

async function world(): Promise<World> {
  const waiting: Array<(socket: Socket) => void> = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => waiting.shift()?.(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const proxy = await startFaultProxy(typeof address === "object" && address !== null ? address.port : 0);
  onTestFinished(async () => {
    server.close();
    await proxy.stop();
  });
  return {
    proxy,
    join: async () => {
      const accepted = Promise.withResolvers<Socket>();
      waiting.push(accepted.resolve);
      const near = connect({ host: "127.0.0.1", port: proxy.port, allowHalfOpen: true });
      near.on("error", () => {});
      const far = await accepted.promise;
      far.on("error", () => {});
      return [near, far];
    },
  };
}

const closed = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once("close", () => resolve()));
const nextBytes = async (socket: Socket): Promise<string> => String((await once(socket, "data"))[0]);

test("without a fault bytes and half-close pass both ways", async () => {
  const { join } = await world();
  const [near, far] = await join();
  near.end("there");
  expect(await text(far)).toBe("there");
  far.end("back");
  expect(await text(near)).toBe("back");
});

test("a cut resets both sides, and links that come meanwhile", async () => {
  const { proxy, join } = await world();
  const [near, far] = await join();
  const gone = [closed(near), closed(far)];
  const end = proxy.begin(CUT);
  await Promise.all(gone);
  const refused = connect({ host: "127.0.0.1", port: proxy.port });
  refused.on("error", () => {});
  await closed(refused);
  end();
  const [again, there] = await join();
  again.write("again");
  expect(await nextBytes(there)).toBe("again");
});

test("what a stalled link was told arrives once it flows again", async () => {
  const { proxy, join } = await world();
  const [near, far] = await join();
  const end = proxy.begin(STALL);
  near.write("late");
  let early = true;
  far.once("data", () => expect(early).toBe(false));
  // Another link, without the fault, gives the first one the time to be wrong.
  const other = await world();
  const [there, back] = await other.join();
  there.write("x");
  await nextBytes(back);
  early = false;
  end();
  expect(await nextBytes(far)).toBe("late");
});

test("a half-open link takes bytes and the end of one side, and the other side hears nothing", async () => {
  const { proxy, join } = await world();
  const [near, far] = await join();
  const end = proxy.begin(HALF_OPEN);
  const heard: string[] = [];
  for (const event of ["data", "end", "close"]) far.once(event, () => heard.push(event));
  far.resume();
  await new Promise<void>((resolve) => near.write(Buffer.alloc(8_388_608), () => resolve()));
  near.resetAndDestroy();
  expect(heard).toEqual([]);
  const gone = closed(far);
  end();
  await gone;
});

test("a delay keeps order and is at least as long as asked, each way", async () => {
  const { proxy, join } = await world();
  proxy.begin(delay(30));
  const [near, far] = await join();
  const from = performance.now();
  for (const word of ["a", "b", "c"]) near.write(word);
  near.end();
  expect(await text(far)).toBe("abc");
  far.end("back");
  expect(await text(near)).toBe("back");
  expect(performance.now() - from).toBeGreaterThanOrEqual(59);
});
