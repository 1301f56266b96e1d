import type { Clock } from "@cluster-connect/base";
import type { Environment } from "@cluster-connect/service";
import type { KeyStore } from "./tokens/vault/key-store.ts";

export type { Environment } from "@cluster-connect/service";

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
  /** Unpredictable bytes. */
  readonly randomBytes: (bytes: number) => Uint8Array;
  readonly signals: SignalSource;
  /** Ends the process at once: for a person who does not want to wait for cleaning up. */
  readonly exit: (code: number) => void;
  readonly self: SelfCommand;
  readonly platform: NodeJS.Platform;
  readonly homeDir: string;
  /** The home folder is only a stand-in: this user has none. */
  readonly isHomeless?: boolean;
  readonly pid: number;
  /** Asks the person at the terminal, and returns the line that was typed; undefined where there is no terminal. */
  readonly ask: ((question: string, options: { readonly signal: AbortSignal }) => Promise<string>) | undefined;
  /** Shows an address in the person's browser; false when there is none. */
  readonly openBrowser: (url: string) => Promise<boolean>;
  /** The system's store for keys; undefined where there is none. */
  readonly openKeyStore: () => Promise<KeyStore | undefined>;
  /** Makes these authorities (PEM) trusted beside the machine's own, for all TLS of this process. */
  readonly trustAuthorities: (pem: string) => void;
}
