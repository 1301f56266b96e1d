/** One side of a comparison; `run` returns what one repetition measured, in the question's unit. */
export interface Subject {
  readonly name: string;
  run(): Promise<number>;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** What one question measured: the first subject is the baseline of the ratios. */
export interface Measured {
  readonly question: string;
  readonly unit: string;
  readonly subjects: ReadonlyArray<{ readonly name: string; readonly spread: Spread; readonly ratio: number }>;
}

const REPETITIONS = 5;

/**
 * Runs the subjects in turns, after one round that does not count, so that a machine that grows slower or faster
 * meanwhile does so for all of them.
 *
 * @returns medians and spread, and each subject's median over the first one's.
 */
export async function measure(question: string, unit: string, subjects: readonly Subject[]): Promise<Measured> {
  const samples = subjects.map((subject) => ({ subject, values: [] as number[] }));
  for (let round = 0; round <= REPETITIONS; round += 1) {
    for (const { subject, values } of samples) {
      const value = await subject.run();
      if (round > 0) values.push(value);
    }
  }
  const spreads = samples.map(({ subject, values }) => ({ name: subject.name, spread: spreadOf(values) }));
  const base = spreads[0]?.spread.median ?? Number.NaN;
  return { question, unit, subjects: spreads.map((each) => ({ ...each, ratio: each.spread.median / base })) };
}

function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (index: number): number => sorted[index] ?? Number.NaN;
  return { median: at(Math.floor(sorted.length / 2)), min: at(0), max: at(sorted.length - 1) };
}
