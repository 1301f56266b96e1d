import { z } from "zod";

const MAX_LIMIT = 1_000;

/** Query fields of a list in pages: how many, and the `next` of the page before. */
export const PAGE_QUERY: {
  readonly limit: z.ZodDefault<z.ZodCoercedNumber>;
  readonly after: z.ZodOptional<z.ZodString>;
} = {
  limit: z.coerce.number().int().min(1).max(MAX_LIMIT).default(100),
  after: z.string().min(1).max(256).optional(),
};

/** One page of a list that is sorted by a key; `next` is null with the last page. */
export function pageOf<T>(
  items: readonly T[],
  keyOf: (item: T) => string,
  query: { readonly limit: number; readonly after?: string | undefined },
): { readonly items: readonly T[]; readonly next: string | null } {
  const { limit, after } = query;
  const rest = after === undefined ? items : items.filter((item) => keyOf(item) > after);
  const page = rest.slice(0, limit);
  const last = page.at(-1);
  return { items: page, next: rest.length > page.length && last !== undefined ? keyOf(last) : null };
}
