/** What the far end needs to end TLS. */
export interface UpstreamSettings {
  readonly certFile: string;
  readonly keyFile: string;
}
