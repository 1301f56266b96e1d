import type { CliDeps } from "../deps.ts";
import { readKeptEntries } from "../kubeconfig/kept-entries.ts";
import { describeMended, mendKeptEntries } from "../kubeconfig/mend-kept.ts";
import { proxiesFolder } from "../proxies/list.ts";
import { describeSkipped } from "../proxies/select.ts";
import { foldersOf } from "../settings/folders.ts";
import type { DoctorReport } from "./report.ts";

/** Checks what this machine keeps: entries of kubeconfigs, and records of proxies. Nothing kept is nothing said. */
export async function checkEntries(
  report: DoctorReport,
  options: { readonly signal: AbortSignal },
  deps: CliDeps,
): Promise<void> {
  const kept = await readKeptEntries(foldersOf(deps)).catch(() => undefined);
  if (kept === undefined || kept.length > 0) {
    await report.check("kubeconfig entries", async () => {
      const mended = await mendKeptEntries(options, deps);
      const count = (await readKeptEntries(foldersOf(deps))).length;
      const failed = mended.filter(({ failure }) => failure !== undefined).map(describeMended);
      const detail = [`${count} kept`, ...mended.filter(({ failure }) => failure === undefined).map(describeMended)];
      return {
        value: count,
        detail: detail.join("; "),
        ...(failed.length === 0 ? {} : { warning: failed.join("; ") }),
      };
    });
  }
  const skipped = await describeSkipped(proxiesFolder(deps), options);
  if (skipped.length === 0) return;
  await report.check("proxy records", async () => ({
    value: skipped.length,
    detail: `${skipped.length} cannot be told`,
    warning: skipped.join(" "),
  }));
}
