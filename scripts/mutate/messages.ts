/** An order to the process with the tests: these files, in this order, until one fails. */
export interface Question {
  /** Absolute path of the file with the fault. */
  readonly file: string;
  /** Its text; undefined runs the tests on the file as it is. */
  readonly source?: string;
  /** Absolute paths. */
  readonly tests: readonly string[];
}

/** The outcome of a question. */
export interface Answer {
  /** The first test that failed and why, in one line; undefined when all passed. */
  readonly failed?: { readonly file: string; readonly test: string; readonly reason: string };
  /** Milliseconds of each file that ran. */
  readonly times: Readonly<Record<string, number>>;
}

/** Name of the variable with the path of a file that holds the mutant, for the processes that a test starts. */
export const SERVED_VARIABLE = "CLUSTER_CONNECT_MUTANT";
