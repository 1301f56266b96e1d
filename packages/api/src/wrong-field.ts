import type { z } from "zod";

/** More is no name of ours; the text of others is not shown beyond it. */
const MAX_CHARACTERS = 80;

/**
 * Where an answer differs from its schema, such as ` (clusters.0.id)`, for the end of a sentence; "" where the answer as a
 * whole is another. Names of fields alone are shown, never a value.
 */
export function wrongField(error: z.ZodError): string {
  const path = error.issues[0]?.path.map(String).join(".") ?? "";
  return /^[\w.-]+$/.test(path) ? ` (${path.slice(0, MAX_CHARACTERS)})` : "";
}
