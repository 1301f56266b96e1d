import { openEcho } from "../client.ts";
import { type Lab, REFERENCES } from "../lab.ts";
import { percentile, type Question } from "../measure.ts";

const ROUND_TRIPS = 1_500;
const WARM_UP_TRIPS = 200;
const LONG_TRIPS = 20;

/** How long one byte takes there and back while nothing else runs. */
export async function ping(lab: Lab): Promise<Question> {
  const chains = await lab.chains({ rttMs: 0 });
  return {
    name: "ping",
    warmUp: true,
    units: { "1 byte p50": "µs", "1 byte p99": "µs" },
    subjects: chains.map(({ name, ports }) => ({
      name,
      run: async () => {
        await roundTrips(ports.quiet, WARM_UP_TRIPS);
        const trips = await roundTrips(ports.quiet, ROUND_TRIPS);
        return { "1 byte p50": percentile(trips, 0.5) * 1_000, "1 byte p99": percentile(trips, 0.99) * 1_000 };
      },
    })),
    targets: [{ metric: "1 byte p50", against: REFERENCES.haproxy, atMost: 1.2 }],
  };
}

/** The same over a long path. */
export async function longPing(lab: Lab): Promise<Question> {
  const chains = await lab.chains({ rttMs: lab.longRttMs });
  return {
    name: `ping at ${lab.longRttMs} ms`,
    warmUp: false,
    units: { "1 byte p50": "ms" },
    subjects: chains.map(({ name, ports }) => ({
      name,
      run: async () => ({ "1 byte p50": percentile(await roundTrips(ports.quiet, LONG_TRIPS), 0.5) }),
    })),
    targets: [],
  };
}

/** Milliseconds of so many round trips of one byte, sorted. */
async function roundTrips(port: number, count: number): Promise<readonly number[]> {
  const echo = openEcho(port);
  const trips: number[] = [];
  for (let index = 0; index < count; index += 1) {
    const startedAt = performance.now();
    await echo.roundTrip(Buffer.from([index & 0xff]));
    trips.push(performance.now() - startedAt);
  }
  echo.close();
  return trips.toSorted((a, b) => a - b);
}
