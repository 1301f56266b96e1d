import { AUDIT_ENTRY, CALLER_SESSION, DONE, pageAnswer } from "@cluster-connect/api";
import { type OutputFormat, writeListing } from "../../terminal/listing.ts";
import type { CommandContext } from "../context.ts";
import { type AdminFlags, connectAdmin } from "./api.ts";
import type { AdminListFlags } from "./clusters.ts";

const SESSION = CALLER_SESSION.pick({
  id: true,
  relayId: true,
  username: true,
  address: true,
  since: true,
  clusters: true,
});

/** Lists callers' sessions. */
export async function listSessions(flags: AdminListFlags, context: CommandContext): Promise<void> {
  const api = await connectAdmin(flags, context);
  await writeListing(
    {
      key: "sessions",
      items: await api.list("/v1/admin/sessions", SESSION),
      nameOf: ({ id }) => id,
      none: "Nobody has a session.",
      columns: [
        { title: "ID", text: ({ id }) => id },
        { title: "USER", text: ({ username }) => username },
        { title: "ADDRESS", text: ({ address }) => address ?? "-" },
        { title: "SINCE", text: ({ since }) => since },
        { title: "CLUSTERS", text: ({ clusters }) => Object.keys(clusters).join(",") },
      ],
    },
    flags.output,
    context.deps,
  );
}

/** Ends a caller's session. */
export async function endSession(id: string, flags: AdminFlags, context: CommandContext): Promise<void> {
  const api = await connectAdmin(flags, context);
  await api.send("DELETE", `/v1/admin/sessions/${encodeURIComponent(id)}`, DONE);
  context.deps.stderr.write("The session ends within seconds.\n");
}

const ENTRY = AUDIT_ENTRY.omit({ previousHash: true, hash: true });

export interface AuditFlags extends AdminFlags {
  readonly name?: readonly string[];
  readonly event?: string;
  readonly actor?: string;
  readonly issuer?: string;
  readonly subject?: string;
  readonly limit: number;
  readonly output: OutputFormat;
}

/** Shows the newest entries of the relay's audit. */
export async function showAudit(flags: AuditFlags, context: CommandContext): Promise<void> {
  const api = await connectAdmin(flags, context);
  const query = new URLSearchParams({ limit: String(flags.limit) });
  const { event, actor, issuer, subject } = flags;
  for (const [name, value] of Object.entries({ event, actor, issuer, subject, cluster: flags.name?.[0] })) {
    if (value !== undefined) query.set(name, value);
  }
  const { items } = await api.send("GET", `/v1/admin/audit?${query}`, pageAnswer(ENTRY));
  await writeListing(
    {
      key: "entries",
      items,
      nameOf: ({ sequence }) => String(sequence),
      none: "The audit holds no such entry.",
      columns: [
        { title: "NUMBER", text: ({ sequence }) => String(sequence) },
        { title: "AT", text: ({ at }) => at },
        { title: "EVENT", text: ({ event }) => event },
        { title: "BY", text: ({ actor }) => actor.username },
        { title: "CLUSTER", text: ({ cluster }) => cluster ?? "-" },
        { title: "DETAIL", text: ({ detail }) => JSON.stringify(detail) },
      ],
    },
    flags.output,
    context.deps,
  );
}
