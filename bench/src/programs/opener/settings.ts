/** How the near end of our chain is started. */
export interface OpenerSettings {
  readonly url: string;
  readonly caFile: string;
  /** Holds the caller's token; absent where none is asked for. */
  readonly tokenFile?: string;
  readonly cluster: string;
  /** Each gets a local port of its own. */
  readonly upstreams: readonly string[];
  /** False: bytes in flight on a hop have no cap. */
  readonly hopWindow: boolean;
}

/** Local port of each upstream. */
export type OpenerPorts = Readonly<Record<string, number>>;
