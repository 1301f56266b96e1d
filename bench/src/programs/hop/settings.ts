/** A relay or an agent that does nothing but carry streams. */
export type HopSettings =
  | { readonly role: "relay"; readonly certFile: string; readonly keyFile: string; readonly hopWindow: boolean }
  | {
      readonly role: "agent";
      readonly url: string;
      readonly caFile: string;
      /** Port of each upstream. */
      readonly upstreams: Readonly<Record<string, number>>;
      readonly hopWindow: boolean;
    };
