import { openEcho } from "../client.ts";
import type { Lab } from "../lab.ts";
import type { Question } from "../measure.ts";

const CONNECTIONS = 64;
const REQUEST: Buffer = Buffer.alloc(128, 0x52);
const DURATION_MS = 600;

/** How many small requests a second 64 connections get answered, each sending the next one after the answer. */
export function requests(lab: Lab): Promise<Question> {
  return requestsAt("requests", 0, lab);
}

/** The same over a long path. */
export function longRequests(lab: Lab): Promise<Question> {
  return requestsAt(`requests at ${lab.longRttMs} ms`, lab.longRttMs, lab);
}

async function requestsAt(name: string, rttMs: number, lab: Lab): Promise<Question> {
  const chains = await lab.chains({ rttMs });
  return {
    name,
    warmUp: true,
    units: { "64 connections": "1/s" },
    subjects: chains.map(({ name: chain, ports }) => ({
      name: chain,
      run: async () => ({ "64 connections": await requestsPerSecond(ports.quiet) }),
    })),
    targets: [],
  };
}

async function requestsPerSecond(port: number): Promise<number> {
  const echoes = Array.from({ length: CONNECTIONS }, () => openEcho(port));
  await Promise.all(echoes.map((echo) => echo.roundTrip(REQUEST)));
  const startedAt = performance.now();
  const counts = await Promise.all(
    echoes.map(async (echo) => {
      let count = 0;
      for (; performance.now() - startedAt < DURATION_MS; count += 1) await echo.roundTrip(REQUEST);
      return count;
    }),
  );
  const seconds = (performance.now() - startedAt) / 1_000;
  for (const echo of echoes) echo.close();
  return counts.reduce((sum, count) => sum + count, 0) / seconds;
}
