import { openEcho } from "./client.ts";
import { percentile } from "./measure.ts";

/** Milliseconds from a new connection to the first byte back through it; the median of so many, one after the other. */
export async function setupMs(port: number, count: number): Promise<number> {
  const trips: number[] = [];
  for (let index = 0; index < count; index += 1) {
    const startedAt = performance.now();
    const echo = openEcho(port);
    await echo.roundTrip(Buffer.from([1]));
    trips.push(performance.now() - startedAt);
    echo.close();
  }
  return percentile(
    trips.toSorted((a, b) => a - b),
    0.5,
  );
}

/** The same on one connection that is open already: the round trip. */
export async function roundTripMs(port: number, count: number): Promise<number> {
  const echo = openEcho(port);
  const trips: number[] = [];
  await echo.roundTrip(Buffer.from([1]));
  for (let index = 0; index < count; index += 1) {
    const startedAt = performance.now();
    await echo.roundTrip(Buffer.from([1]));
    trips.push(performance.now() - startedAt);
  }
  echo.close();
  return percentile(
    trips.toSorted((a, b) => a - b),
    0.5,
  );
}
