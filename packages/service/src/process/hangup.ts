import { errorFields } from "../observe/failure.ts";
import type { Logger } from "../observe/logger.ts";
import type { SignalSource } from "./shutdown.ts";

/**
 * Reads files again when the process gets SIGHUP, as tools that rotate logs or certificates send it; a terminal that
 * closes sends it as well and ends nothing. Without an answer of its own the signal would end the process at once.
 *
 * @param options.signal is aborted when the process stops; a signal after that does nothing.
 * @param deps.reload reads again; what it throws is logged.
 */
export function onHangup(
  options: { readonly signal: AbortSignal },
  deps: { readonly signals: SignalSource; readonly log: Logger; readonly reload: () => Promise<void> },
): void {
  let running: Promise<void> | undefined;
  deps.signals.on("SIGHUP", () => {
    if (options.signal.aborted || running !== undefined) return;
    deps.log.info({ event: "signal.hangup" }, "SIGHUP: the files are read again");
    running = deps
      .reload()
      .catch((error: unknown) => {
        deps.log.warn({ event: "signal.reload", ...errorFields(error) }, "a file cannot be read again");
      })
      .finally(() => {
        running = undefined;
      });
  });
}
