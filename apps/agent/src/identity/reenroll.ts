import { ConnectError } from "@cluster-connect/protocol";
import { errorFields } from "@cluster-connect/service";
import type { AgentConfig } from "../config.ts";
import { type EnrollDeps, enrollAgain, readCode } from "./enroll.ts";
import { type Identity, readIdentity } from "./state-folder.ts";

/** Enrolls a running agent anew when its key is refused and there is a code; the tunnels follow the state folder. */
export interface Reenrollment {
  /** A relay refused this key. Never waits; one attempt at a time. */
  refused(identity: Identity): void;
  /** Resolves when no attempt is under way. */
  idle(): Promise<void>;
}

export function createReenrollment(
  config: AgentConfig,
  options: { readonly ca: string | undefined; readonly signal: AbortSignal },
  deps: EnrollDeps,
): Reenrollment {
  /** A code that was refused once is not tried again; the file may hold another one by then. */
  const refusedCodes = new Set<string>();
  let running: Promise<void> | undefined;

  async function attempt(identity: Identity): Promise<void> {
    let code: string | undefined;
    try {
      code = await readCode(config);
      if (code === undefined || refusedCodes.has(code)) return;
      // A tunnel by the former key may be refused once more before those by the new one are there.
      const inPlace = await readIdentity(config.stateDir);
      if (inPlace !== undefined && inPlace.key.keyId !== identity.key.keyId) return;
      await enrollAgain(identity, config, { ...options, code }, deps);
    } catch (error) {
      if (options.signal.aborted) return;
      const isCode = error instanceof ConnectError && error.code === "CC_ENROLLMENT_CODE_INVALID";
      if (isCode && code !== undefined) refusedCodes.add(code);
      const text = isCode ? "the code lets no new key in either; a new code is needed" : "not enrolled anew";
      deps.log.error({ event: "enrollment.failed", ...errorFields(error) }, text);
    }
  }

  return {
    refused(identity) {
      if (options.signal.aborted) return;
      running ??= attempt(identity).finally(() => {
        running = undefined;
      });
    },
    idle: async () => await running,
  };
}
