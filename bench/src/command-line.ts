import { parseArgs } from "node:util";

/** A run as the person asked for it. */
export interface BenchRequest {
  /** Names of questions, in the order of the table. */
  readonly questions: readonly string[];
  readonly json: boolean;
  readonly rounds: number;
  readonly rttMs: number;
  /** Where to write CPU profiles of relay and agent. */
  readonly profileFolder: string | undefined;
  /** Flags for Node in our own hops, to try what they change. */
  readonly nodeFlags: readonly string[];
}

const MAX_ROUNDS = 100;
const MAX_RTT_MS = 2_000;

/** @throws Error with one line that names what is wrong. */
export function parseBenchArguments(argv: readonly string[], known: readonly string[]): BenchRequest {
  const { values, positionals } = parseArgs({
    args: argv.filter((word) => word !== "--"),
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      rounds: { type: "string", default: "5" },
      rtt: { type: "string", default: "50" },
      profile: { type: "string" },
      flags: { type: "string", default: "" },
    },
  });
  const unknown = positionals.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new Error(`there is no question ${unknown.join(", ")}; there are ${known.join(", ")}`);
  }
  return {
    questions: positionals.length === 0 ? known : known.filter((name) => positionals.includes(name)),
    json: values.json,
    rounds: wholeNumber("--rounds", values.rounds, MAX_ROUNDS),
    rttMs: wholeNumber("--rtt", values.rtt, MAX_RTT_MS),
    profileFolder: values.profile,
    nodeFlags: values.flags.split(" ").filter((flag) => flag !== ""),
  };
}

function wholeNumber(flag: string, text: string, largest: number): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1 && number <= largest) return number;
  throw new Error(`${flag} is a whole number from 1 to ${largest}, not ${text}`);
}
