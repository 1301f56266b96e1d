/** A test file that may run. */
export interface Candidate {
  readonly path: string;
  /** How many names lead from it to what has changed. */
  readonly steps: number;
  /** Milliseconds that it took the last time; undefined when that is not known. */
  readonly ms: number | undefined;
}

/** As long as most files take. */
const USUAL_MS = 1_000;

/**
 * Test files that fit into a time: those nearest to the change first, of equally near ones the quickest. A file that
 * takes longer than what is left is passed over for others that do not. Files that the change has no way to are chosen
 * where it has one to none.
 *
 * @param budgetMs of all of them, one after the other.
 */
export function nearestFirst<T extends Candidate>(candidates: readonly T[], budgetMs: number): readonly T[] {
  const timeOf = ({ ms = USUAL_MS }: Candidate): number => ms;
  const reached = candidates.filter(({ steps }) => Number.isFinite(steps));
  const sorted = (reached.length === 0 ? candidates : reached).toSorted(
    (a, b) => compare(a.steps, b.steps) || timeOf(a) - timeOf(b),
  );
  let leftMs = budgetMs;
  return sorted.filter((candidate) => {
    if (timeOf(candidate) > leftMs) return false;
    leftMs -= timeOf(candidate);
    return true;
  });
}

/** Also of two that are infinite. */
const compare = (a: number, b: number): number => (a === b ? 0 : a - b);
