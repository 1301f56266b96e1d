/** The measures of one repetition of one subject: a number for each metric. */
export type Sample = Readonly<Record<string, number>>;

/** One side of a comparison. */
export interface Subject {
  readonly name: string;
  run(): Promise<Sample>;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/**
 * A goal for our own subject, the first one: a ratio to another subject, or a number of the metric itself.
 */
export interface Target {
  readonly metric: string;
  readonly against?: string;
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** One question: its subjects, the first of which is ours, and what is wanted. */
export interface Question {
  readonly name: string;
  /** Unit of each metric, in the order of the table. */
  readonly units: Readonly<Record<string, string>>;
  readonly subjects: readonly Subject[];
  readonly targets: readonly Target[];
  /** Whether a first round that does not count is of use; memory is measured on fresh processes. */
  readonly warmUp: boolean;
}

/** The target of a row, and whether it was met. */
export interface Verdict {
  readonly target: string;
  readonly met: boolean;
}

export interface Row {
  readonly question: string;
  readonly metric: string;
  readonly unit: string;
  readonly subject: string;
  readonly spread: Spread;
  /** Ours over this subject, taken within each round; absent in our own rows. */
  readonly ratio: Spread | undefined;
  readonly verdict: Verdict | undefined;
}

/**
 * Runs the subjects in turns, each round beginning with another one. So a machine that grows slower or faster meanwhile
 * does so for all of them.
 */
export async function measure(question: Question, options: { readonly rounds: number }): Promise<readonly Row[]> {
  const { subjects, warmUp } = question;
  const samples = new Map<Subject, Sample[]>(subjects.map((subject) => [subject, []]));
  for (let round = warmUp ? -1 : 0; round < options.rounds; round += 1) {
    for (let turn = 0; turn < subjects.length; turn += 1) {
      const subject = subjects[(Math.max(0, round) + turn) % subjects.length];
      if (subject === undefined) continue;
      const sample = await subject.run().catch((cause: unknown) => {
        throw new Error(`${question.name} through ${subject.name} failed: ${String(cause)}`, { cause });
      });
      if (round >= 0) samples.get(subject)?.push(sample);
    }
  }
  return rowsOf(question, samples);
}

function rowsOf(question: Question, samples: ReadonlyMap<Subject, readonly Sample[]>): readonly Row[] {
  const [own] = question.subjects;
  const ours = own === undefined ? [] : (samples.get(own) ?? []);
  return Object.entries(question.units).flatMap(([metric, unit]) =>
    question.subjects.flatMap((subject): readonly Row[] => {
      const theirs = samples.get(subject) ?? [];
      if (theirs[0]?.[metric] === undefined) return [];
      const spread = spreadOf(theirs.map((sample) => sample[metric] ?? Number.NaN));
      const ratio =
        subject === own || ours[0]?.[metric] === undefined
          ? undefined
          : spreadOf(theirs.map((sample, round) => (ours[round]?.[metric] ?? Number.NaN) / (sample[metric] ?? 0)));
      const target = question.targets.find(
        (one) => one.metric === metric && (one.against ?? own?.name) === subject.name,
      );
      const verdict = target === undefined ? undefined : judge(target, (ratio ?? spread).median);
      return [{ question: question.name, metric, unit, subject: subject.name, spread, ratio, verdict }];
    }),
  );
}

function judge({ atLeast, atMost }: Target, value: number): Verdict {
  const target = atLeast === undefined ? `≤ ${atMost}` : `≥ ${atLeast}`;
  return { target, met: atLeast === undefined ? value <= (atMost ?? Number.POSITIVE_INFINITY) : value >= atLeast };
}

/** Median, smallest and largest of some numbers. */
function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  return { median: median(sorted), min: sorted[0] ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN };
}

/** @param sorted from small to large. */
function median(sorted: readonly number[]): number {
  const half = sorted.length / 2;
  const [below, above] = [sorted[Math.ceil(half) - 1], sorted[Math.floor(half)]];
  return ((below ?? Number.NaN) + (above ?? Number.NaN)) / 2;
}

/** @param sorted from small to large. @returns the number that this part of them lies below. */
export function percentile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}
