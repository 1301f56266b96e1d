/** A program for the keeper to start in a process group of its own. */
export interface ProgramSpec {
  /** Short name: names the log file and appears in error messages. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** File that receives standard output and standard error, appended. */
  readonly logPath: string;
}

/** A request of the owner to the keeper. */
export type KeeperRequest =
  | { readonly kind: "start"; readonly id: number; readonly program: ProgramSpec }
  | { readonly kind: "signal"; readonly id: number; readonly signal: NodeJS.Signals }
  /** Removes the folder when everything has ended. */
  | { readonly kind: "folder"; readonly path: string }
  /** Removes the control group, and those in it, when everything has ended. */
  | { readonly kind: "cgroup"; readonly path: string }
  /** Also ends a process that the owner started itself. */
  | { readonly kind: "adopt"; readonly pid: number }
  | { readonly kind: "release"; readonly pid: number }
  | { readonly kind: "end" };

/** A report of the keeper to its owner. */
export type KeeperReport =
  | { readonly kind: "started"; readonly id: number; readonly pid: number }
  | { readonly kind: "failed"; readonly id: number; readonly message: string }
  | { readonly kind: "exited"; readonly id: number; readonly code: number | null; readonly signal: string | null };
