/** How much bulk runs, and where. */
export interface LoadSettings {
  readonly port: number;
  /** Streams in each direction. */
  readonly up: number;
  readonly down: number;
}
