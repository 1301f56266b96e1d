import { ConnectError } from "@cluster-connect/protocol";
import { readSettingFile } from "@cluster-connect/service";
import { z } from "zod";
import { HEAD_SEAL, type HeadSeal, SEALED_EVENT } from "../store/queries/audit-seals.ts";

/** A line of the audit's file, or of the relay's log; the one has the head in its detail. */
const LINE = z.object({
  event: z.literal(SEALED_EVENT),
  head: HEAD_SEAL.optional(),
  detail: z.object({ head: HEAD_SEAL }).optional(),
});

/**
 * Reads the sealed heads in a file of JSON lines, such as the audit's own file or the relay's log. Other lines are left
 * out.
 *
 * @throws ConnectError `CC_FILE_MISSING` or `CC_FILE_UNREADABLE`, also for a file without a head.
 */
export async function readNotedHeads(file: string): Promise<readonly HeadSeal[]> {
  const text = await readSettingFile("--heads", file);
  const heads = parseNotedHeads(text);
  if (heads.length > 0) return heads;
  throw new ConnectError("CC_FILE_UNREADABLE", `--heads: ${file} holds no sealed head`, {
    hint: `Give the file of audit.file, or the relay's log: JSON lines with the event ${SEALED_EVENT}.`,
  });
}

export function parseNotedHeads(text: string): readonly HeadSeal[] {
  return text.split("\n").flatMap((line) => {
    if (!line.includes(SEALED_EVENT)) return [];
    const { head, detail } = LINE.safeParse(parseLine(line)).data ?? {};
    const found = head ?? detail?.head;
    return found === undefined ? [] : [found];
  });
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
