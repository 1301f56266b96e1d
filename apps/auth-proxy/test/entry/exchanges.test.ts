import { once } from "node:events";
import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { createExchanges } from "../../src/entry/exchanges.ts";

test("what waits for its answer is given up with its socket, though no response tells of it", async () => {
  const exchanges = createExchanges();
  const socket = new PassThrough();
  const other = new PassThrough();
  const [first, second, third] = [exchanges.begin(socket), exchanges.begin(socket), exchanges.begin(other)];
  expect([exchanges.of(socket), exchanges.size()]).toEqual([2, 3]);
  socket.destroy();
  await once(socket, "close");
  expect([first.aborted, second.aborted, third.aborted]).toEqual([true, true, false]);
  expect([exchanges.of(socket), exchanges.size()]).toEqual([0, 1]);
});

test("a request of a socket that is closed already is given up at once", async () => {
  const exchanges = createExchanges();
  const socket = new PassThrough().destroy();
  await once(socket, "close");
  const gone = exchanges.begin(socket);
  await once(gone, "abort");
  expect(exchanges.size()).toBe(0);
});
