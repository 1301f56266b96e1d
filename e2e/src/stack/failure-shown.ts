import { ConnectError, isErrorCode } from "@cluster-connect/protocol";

/**
 * The error that our CLI has shown last, as it was: code, message and hint.
 *
 * @param otherwise says what happened when the screen holds none; its last line is added.
 */
export function failureShown(screen: string, otherwise: string): ConnectError {
  const [, message, code, hint] = [...screen.matchAll(SHOWN)].at(-1) ?? [];
  if (message !== undefined && hint !== undefined && isErrorCode(code))
    return new ConnectError(code, message, { hint });
  return new ConnectError("CC_INTERNAL", `${otherwise}: ${screen.trim().split("\n").at(-1)}`);
}

const SHOWN = /^error: (.*) \((CC_[A-Z_]+)\)\nhint: (.*)$/gm;
