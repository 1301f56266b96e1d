import { readFileSync } from "node:fs";
import { z } from "zod";

const PACKAGE = z.object({ version: z.string() });

/** Product and version, for HELLO and `--version`. */
export function readSoftware(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return `cluster-connect-auth-proxy/${PACKAGE.parse(JSON.parse(text)).version}`;
}
