/** The system's facts about one process number. */
export interface ProcessFacts {
  /** When the process began, in the system's own unit; undefined where it cannot be told. */
  readonly startedAt: string | undefined;
  /** It has ended, and only waits for its parent to notice; in a container that may be for ever. */
  readonly isOver: boolean;
}

/** A program that listens on a port. */
export interface PortHolder {
  readonly pid: number;
  /** Name of the program, without its arguments, which may hold secrets. */
  readonly command: string;
}

/** The differences between systems about processes. No method throws: a fact that cannot be told is undefined. */
export interface Platform {
  /** This machine, also after a restart. */
  machineId(): string | undefined;
  /** This start of the machine: a process of another one is gone. */
  bootId(): string | undefined;
  /** Numbers of processes mean something only within it: containers have one each. */
  processNamespace(): string | undefined;
  /** Undefined where the system does not tell of this process, or does not have it. */
  processFacts(pid: number): ProcessFacts | undefined;
  /** The program that listens on a loopback port; undefined also when it is another user's. */
  portHolder(port: number): PortHolder | undefined;
}

/** How a platform reads its system. */
export interface SystemReader {
  /** Undefined when the file cannot be read. */
  readFile(path: string): string | undefined;
  /** Undefined when it is no symbolic link. */
  readLink(path: string): string | undefined;
  /** Names in a folder; none when it cannot be read. */
  readFolder(path: string): readonly string[];
  /** The standard output of a program; undefined when it fails or is not there. */
  output(command: string, args: readonly string[]): string | undefined;
}
