import { z } from "zod";
import type { KubeconfigEntry } from "./entry.ts";
import { EXEC_API_VERSIONS } from "./exec-api.ts";

/** An entry as files of this tool hold it. */
export const ENTRY: z.ZodType<KubeconfigEntry> = z.object({
  name: z.string(),
  context: z.string(),
  port: z.int(),
  serverName: z.string(),
  authorities: z.string(),
  credential: z.object({
    command: z.string(),
    args: z.array(z.string()),
    env: z.record(z.string(), z.string()).optional(),
    execApi: z.enum(EXEC_API_VERSIONS).optional(),
  }),
});
