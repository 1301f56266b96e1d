import type { Clock } from "@cluster-connect/framing";
import type { KeyStore } from "./tokens/key-store.ts";

/** Environment variables. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Where text for a person or a script goes. */
export interface TextOutput {
  write(text: string): void;
  readonly isTerminal: boolean;
  /** Width in characters; 80 where it is not known. */
  readonly columns: number;
}

export interface TextInput {
  readonly isTerminal: boolean;
  /** Everything until the end of the input. */
  readAll(): Promise<string>;
}

/** Signals that ask this process to end, or that it passes on. */
export interface SignalSource {
  on(signal: NodeJS.Signals, listener: () => void): void;
  off(signal: NodeJS.Signals, listener: () => void): void;
}

/** How this program is started again by others, such as kubectl. */
export interface SelfCommand {
  /** Absolute path. */
  readonly command: string;
  readonly args: readonly string[];
}

/** The effects of the command line tool, so that tests can own them. */
export interface CliDeps {
  readonly env: Environment;
  readonly stdout: TextOutput;
  readonly stderr: TextOutput;
  readonly stdin: TextInput;
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
  readonly random: () => number;
  readonly signals: SignalSource;
  /** Ends the process at once: for somebody who does not want to wait for cleaning up. */
  readonly exit: (code: number) => void;
  readonly self: SelfCommand;
  readonly platform: NodeJS.Platform;
  readonly homeDir: string;
  readonly pid: number;
  /** Shows an address in the person's browser; false when there is none. */
  readonly openBrowser: (url: string) => Promise<boolean>;
  /** The system's store for keys; undefined where there is none. */
  readonly openKeyStore: () => Promise<KeyStore | undefined>;
  /** Makes these authorities (PEM) trusted beside the machine's own, for all TLS of this process. */
  readonly trustAuthorities: (pem: string) => void;
}
