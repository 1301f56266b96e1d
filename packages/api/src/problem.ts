import { z } from "zod";

/** An error as RFC 9457 wants it (`application/problem+json`), with the fields of a {@link REFUSAL}. */
export const PROBLEM = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string().describe("One of docs/errors.md."),
  message: z.string(),
  hint: z.string(),
});

/** The fields that a reader takes of any error of the relay, those of a refused upgrade included. */
export const REFUSAL = z.object({
  code: z.string().max(64),
  message: z.string().max(4_096),
  hint: z.string().max(1_024).optional(),
});
