import { ConnectError } from "@cluster-connect/protocol";
import { z } from "zod";
import type { CommandContext } from "../commands/context.ts";
import { askRelay, parseAnswer, type RelayRequest, refusal } from "../relay-api.ts";
import { chooseRelay, type RelayFlags } from "../settings/relay-choice.ts";
import { chooseTokens } from "../tokens/choose-tokens.ts";
import { findGivenTokens, type TokenFlags } from "../tokens/token-flags.ts";

export interface AdminFlags extends RelayFlags, TokenFlags {}

/** A relay's routes for administrators. */
export interface AdminApi {
  /** @throws ConnectError what the relay answers, such as `CC_ADMIN_REQUIRED`. */
  send<T>(method: RelayRequest["method"], path: string, schema: z.ZodType<T>, body?: unknown): Promise<T>;
  /** Every item of a list, page by page. */
  list<T>(path: string, schema: z.ZodType<T>): Promise<readonly T[]>;
}

/** What a relay answers to a change that has nothing to show. */
export const DONE: z.ZodType<{ readonly done: true }> = z.object({ done: z.literal(true) });

const INVALID = z.object({ code: z.literal("CC_REQUEST_REFUSED"), message: z.string().max(4_096) });

/** Finds the relay and the caller's token for it. */
export async function connectAdmin(flags: AdminFlags, { deps, signal }: CommandContext): Promise<AdminApi> {
  const relay = await chooseRelay(flags, deps);
  const tokens = chooseTokens(relay.url, await findGivenTokens(flags, deps), deps);
  const send: AdminApi["send"] = async (method, path, schema, body) => {
    const { token } = await tokens.token("relay", { signal });
    const answer = await askRelay(relay.url, { method, path, token, body }, { signal }, deps);
    if (answer.status === 200) return parseAnswer(schema, answer.body, `${relay.url.host}${path}`);
    const invalid = INVALID.safeParse(answer.body);
    // A relay that knows no such route says so with the status of what is not there.
    if (!invalid.success || answer.status === 404) throw refusal(relay.url.host, answer.status, answer.body);
    throw new ConnectError("CC_USAGE", invalid.data.message.replaceAll(/\s+/g, " "));
  };
  return {
    send,
    async list(path, schema) {
      const page = z.object({ items: z.array(schema), next: z.string().nullable() });
      const items = [];
      for (let next: string | null = ""; next !== null; ) {
        const after: string = next === "" ? "" : `&after=${encodeURIComponent(next)}`;
        const answer: z.output<typeof page> = await send("GET", `${path}?limit=1000${after}`, page);
        items.push(...answer.items);
        next = answer.next;
      }
      return items;
    },
  };
}
