import { openEcho } from "../client.ts";
import type { Lab } from "../lab.ts";
import type { Question } from "../measure.ts";

const CONNECTIONS = 64;
const REQUEST: Buffer = Buffer.alloc(128, 0x52);
const DURATION_MS = 600;

/** How many small requests a second 64 connections get answered, each sending the next one after the answer. */
export async function requests(lab: Lab): Promise<Question> {
  const chains = await lab.chains({ rttMs: 0 });
  return {
    name: "requests",
    warmUp: true,
    units: { "64 connections": "1/s" },
    subjects: chains.map(({ name, ports }) => ({
      name,
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
