import { pageAnswer, REFUSAL } from "@cluster-connect/api";
import { ConnectError } from "@cluster-connect/protocol";
import type { z } from "zod";
import { askRelay, parseAnswer, type RelayRequest, refusedByRelay } from "../../relay/api.ts";
import { chooseRelay, type RelayFlags } from "../../relay/choice.ts";
import { printable } from "../../terminal/printable.ts";
import { chooseTokens } from "../../tokens/choose-tokens.ts";
import { findGivenTokens, type TokenFlags } from "../../tokens/given/token-flags.ts";
import type { CommandContext } from "../context.ts";

export interface AdminFlags extends RelayFlags, TokenFlags {}

/** A relay's routes for administrators. */
export interface AdminApi {
  /** @throws ConnectError what the relay answers, such as `CC_ADMIN_REQUIRED`. */
  send<T>(method: RelayRequest["method"], path: string, schema: z.ZodType<T>, body?: unknown): Promise<T>;
  /** Every item of a list, page by page. */
  list<T>(path: string, schema: z.ZodType<T>): Promise<readonly T[]>;
}

/** A million items; a relay whose list goes on has none that ends. */
const MAX_PAGES = 1_000;

/** Finds the relay and the caller's token for it. */
export async function connectAdmin(flags: AdminFlags, { deps, signal }: CommandContext): Promise<AdminApi> {
  const relay = await chooseRelay(flags, deps);
  const tokens = chooseTokens(relay.url, await findGivenTokens(flags, deps), deps);
  const send: AdminApi["send"] = async (method, path, schema, body) => {
    const { token } = await tokens.token("relay", { signal });
    const answer = await askRelay(relay.url, { method, path, token, body }, { signal }, deps);
    if (answer.status === 200) return parseAnswer(schema, answer.body, `${relay.url.host}${path}`);
    const invalid = REFUSAL.safeParse(answer.body);
    // A relay that knows no such route says so with the status of what is not there.
    const isInvalid = invalid.success && invalid.data.code === "CC_REQUEST_REFUSED";
    if (!isInvalid || answer.status === 404) throw refusedByRelay(relay.url.host, answer.status, answer.body);
    throw new ConnectError("CC_USAGE", printable(invalid.data.message).replaceAll(/\s+/g, " "));
  };
  return {
    send,
    async list(path, schema) {
      const page = pageAnswer(schema);
      const items = [];
      for (let next: string | null = "", pages = 0; next !== null; pages += 1) {
        if (pages === MAX_PAGES) throw new ConnectError("CC_RELAY_REFUSED", `${relay.url.host}${path} has no end`);
        const after: string = next === "" ? "" : `&after=${encodeURIComponent(next)}`;
        const answer: z.output<typeof page> = await send("GET", `${path}?limit=1000${after}`, page);
        items.push(...answer.items);
        next = answer.next;
      }
      return items;
    },
  };
}
