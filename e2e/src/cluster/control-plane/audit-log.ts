import { open } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

/** The fields of an `audit.k8s.io/v1` event that the tests look at. */
export interface AuditEvent {
  readonly auditId: string;
  readonly stage: string;
  readonly verb: string;
  readonly requestUri: string;
  readonly username: string;
  readonly impersonatedUsername: string | undefined;
  readonly impersonatedGroups: readonly string[];
  readonly responseCode: number | undefined;
}

const LOOK_EVERY_MS = 50;

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/**
 * Reads one line of the apiserver's audit log.
 *
 * @throws SyntaxError when the line is not JSON.
 */
export function parseAuditEvent(line: string): AuditEvent {
  const event: unknown = JSON.parse(line);
  const impersonated = field(event, "impersonatedUser");
  const name = field(impersonated, "username");
  const groups = field(impersonated, "groups");
  const code = field(field(event, "responseStatus"), "code");
  return {
    auditId: text(field(event, "auditID")),
    stage: text(field(event, "stage")),
    verb: text(field(event, "verb")),
    requestUri: text(field(event, "requestURI")),
    username: text(field(field(event, "user"), "username")),
    impersonatedUsername: typeof name === "string" ? name : undefined,
    impersonatedGroups: Array.isArray(groups) ? groups.map(text) : [],
    responseCode: typeof code === "number" ? code : undefined,
  };
}

/** Yields every event from the first one on, and goes on as events are written, until the signal aborts. */
export async function* followAuditLog(
  path: string,
  options: { readonly signal: AbortSignal },
): AsyncGenerator<AuditEvent, void, undefined> {
  const file = await open(path, "r");
  try {
    let rest = Buffer.alloc(0);
    for (;;) {
      options.signal.throwIfAborted();
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(65_536), 0, 65_536, null);
      if (bytesRead === 0) {
        await delay(LOOK_EVERY_MS, undefined, { signal: options.signal });
        continue;
      }
      rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
      for (let end = rest.indexOf(10); end !== -1; end = rest.indexOf(10)) {
        const line = rest.subarray(0, end).toString("utf8");
        rest = rest.subarray(end + 1);
        if (line !== "") yield parseAuditEvent(line);
      }
    }
  } finally {
    await file.close();
  }
}
