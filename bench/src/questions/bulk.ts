import { readFile } from "node:fs/promises";
import { type Chain, HOPS } from "../chains/chain.ts";
import { type Dial, dialPlain, download, secureDial, upload } from "../client.ts";
import { type Lab, REFERENCES } from "../lab.ts";
import type { Question, Sample } from "../measure.ts";
import { cpuSeconds } from "../process/usage.ts";

const MIB = 1_048_576;
/** Long enough that making connections and the growth of windows do not count. */
const RUN_BYTES = 512 * MIB;
const GIB = 1_024 * MIB;
const MANY = 8;

/** How fast one stream and eight carry bulk, and what that costs each hop. */
export async function bulk(lab: Lab): Promise<Question> {
  const chains = await lab.chains({ rttMs: 0 });
  const { haproxy, ssh } = REFERENCES;
  const both = (metric: string, against: string, atLeast: number): Question["targets"] =>
    ["up", "down"].map((way) => ({ metric: `${metric} ${way}`, against, atLeast }));
  return {
    name: "bulk",
    warmUp: true,
    subjects: chains.map((chain) => ({ name: chain.name, run: () => run(chain) })),
    units: {
      "1 stream up": "MiB/s",
      "1 stream down": "MiB/s",
      "8 streams up": "MiB/s",
      "8 streams down": "MiB/s",
      "CPU near": "s/GiB",
      "CPU middle": "s/GiB",
      "CPU far": "s/GiB",
      "CPU three hops": "s/GiB",
    },
    targets: [
      ...both("8 streams", ssh, 1.1),
      ...both("8 streams", haproxy, 0.9),
      ...both("1 stream", ssh, 1),
      { metric: "CPU three hops", against: ssh, atMost: 1 },
      { metric: "CPU middle", against: haproxy, atMost: 1.1 },
    ],
  };
}

/** The same with TLS between the ends, as kubectl and the auth proxy have it: what the hops carry is ciphertext. */
export async function bulkInnerTls(lab: Lab): Promise<Question> {
  const chains = await lab.chains({ rttMs: 0 });
  const dial = secureDial(await readFile(lab.site.certificate.certFile));
  return {
    name: "bulk, inner TLS",
    warmUp: true,
    subjects: chains.map(({ name, ports }) => ({
      name,
      run: async () => ({
        "1 stream up": await rate(1, ports.bulk, upload, dial),
        "1 stream down": await rate(1, ports.bulk, download, dial),
        "8 streams up": await rate(MANY, ports.bulk, upload, dial),
        "8 streams down": await rate(MANY, ports.bulk, download, dial),
      }),
    })),
    units: { "1 stream up": "MiB/s", "1 stream down": "MiB/s", "8 streams up": "MiB/s", "8 streams down": "MiB/s" },
    targets: [],
  };
}

async function run(chain: Chain): Promise<Sample> {
  const port = chain.ports.bulk;
  const one = { up: await rate(1, port, upload), down: await rate(1, port, download) };
  const before = await cpuOf(chain);
  const many = { up: await rate(MANY, port, upload), down: await rate(MANY, port, download) };
  const after = await cpuOf(chain);
  const spent = HOPS.map((hop) => ((after[hop] ?? 0) - (before[hop] ?? 0)) / ((2 * RUN_BYTES) / GIB));
  const [near = 0, middle = 0, far = 0] = spent;
  return {
    "1 stream up": one.up,
    "1 stream down": one.down,
    "8 streams up": many.up,
    "8 streams down": many.down,
    "CPU near": near,
    "CPU middle": middle,
    "CPU far": far,
    "CPU three hops": near + middle + far,
  };
}

/** MiB per second of all streams together. */
async function rate(
  streams: number,
  port: number,
  carry: (port: number, bytes: number, dial: Dial) => Promise<void>,
  dial: Dial = dialPlain,
): Promise<number> {
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: streams }, () => carry(port, RUN_BYTES / streams, dial)));
  return RUN_BYTES / MIB / ((performance.now() - startedAt) / 1_000);
}

async function cpuOf(chain: Chain): Promise<Sample> {
  const entries = HOPS.map(async (hop) => [hop, await cpuSeconds(await chain.pids(hop))] as const);
  return Object.fromEntries(await Promise.all(entries));
}
