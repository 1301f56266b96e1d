import { ConnectError } from "@cluster-connect/protocol";
import { z } from "zod";
import type { CommandContext } from "../commands/context.ts";
import { writeListing } from "../output.ts";
import { type AdminFlags, connectAdmin, DONE } from "./api.ts";
import type { AdminListFlags } from "./clusters.ts";

const KEY = z.object({
  id: z.string(),
  cluster: z.string(),
  createdAt: z.string(),
  addedBy: z.string(),
  /** Missing at a relay of an earlier version. */
  state: z.string().optional(),
  lastUsedAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
});

/** Lists agent keys. */
export async function listKeys(flags: AdminListFlags, context: CommandContext): Promise<void> {
  const api = await connectAdmin(flags, context);
  await writeListing(
    {
      key: "keys",
      items: await api.list("/v1/admin/keys", KEY),
      nameOf: ({ id }) => id,
      none: "There are no agent keys.",
      columns: [
        { title: "ID", text: ({ id }) => id },
        { title: "CLUSTER", text: ({ cluster }) => cluster },
        { title: "LAST USED", text: ({ lastUsedAt }) => lastUsedAt ?? "never" },
        { title: "ADDED BY", text: ({ addedBy }) => addedBy },
        { title: "STATE", text: ({ state = "", revokedAt }) => (revokedAt === null ? state : `revoked ${revokedAt}`) },
      ],
    },
    flags.output,
    context.deps,
  );
}

const REVOKED = z.object({ dropped: z.array(z.string()).default([]), left: z.array(z.string()).default([]) });

/** Makes an agent key worthless. */
export async function revokeKey(id: string, flags: AdminFlags, context: CommandContext): Promise<void> {
  const api = await connectAdmin(flags, context);
  const { dropped, left } = await api.send("DELETE", `/v1/admin/keys/${encodeURIComponent(id)}`, REVOKED);
  const { stderr } = context.deps;
  stderr.write("The key is revoked; its tunnels end within seconds.\n");
  for (const key of dropped)
    stderr.write(`The key ${key}, which it had let in, was not used yet and is revoked too.\n`);
  for (const key of left) stderr.write(`The key ${key}, which it had let in, is in use and stays valid.\n`);
}

const CODE = z.object({
  id: z.string(),
  cluster: z.string(),
  createdBy: z.string(),
  expiresAt: z.string(),
  maxUses: z.number(),
  uses: z.number(),
  revokedAt: z.string().nullable(),
});

/** Lists enrollment codes by their ids; the codes themselves are kept nowhere. */
export async function listCodes(flags: AdminListFlags, context: CommandContext): Promise<void> {
  const api = await connectAdmin(flags, context);
  await writeListing(
    {
      key: "codes",
      items: await api.list("/v1/admin/codes", CODE),
      nameOf: ({ id }) => id,
      none: "There are no enrollment codes.",
      columns: [
        { title: "ID", text: ({ id }) => id },
        { title: "CLUSTER", text: ({ cluster }) => cluster },
        { title: "EXPIRES", text: ({ expiresAt }) => expiresAt },
        { title: "USES", text: ({ uses, maxUses }) => `${uses}/${maxUses}` },
        { title: "MADE BY", text: ({ createdBy }) => createdBy },
        { title: "REVOKED", text: ({ revokedAt }) => revokedAt ?? "" },
      ],
    },
    flags.output,
    context.deps,
  );
}

export interface CodesCreateFlags extends AdminFlags {
  readonly name?: readonly string[];
  readonly expires: number;
  readonly uses: number;
  readonly output: "text" | "json";
}

/** Makes a code and prints it, once. */
export async function createCode(flags: CodesCreateFlags, context: CommandContext): Promise<void> {
  const { deps } = context;
  const [cluster, ...more] = flags.name ?? [];
  if (cluster === undefined || more.length > 0) throw new ConnectError("CC_USAGE", "Name one cluster with -n");
  const api = await connectAdmin(flags, context);
  const body = { cluster, expiresSeconds: flags.expires, maxUses: flags.uses };
  const made = await api.send("POST", "/v1/admin/codes", CODE.extend({ code: z.string() }), body);
  if (flags.output === "json") {
    deps.stdout.write(`${JSON.stringify(made, undefined, 2)}\n`);
    return;
  }
  deps.stderr.write(`An agent joins as cluster ${cluster} with this code, until ${made.expiresAt}.\n`);
  deps.stdout.write(`${made.code}\n`);
}

/** Makes an enrollment code worthless. */
export async function revokeCode(id: string, flags: AdminFlags, context: CommandContext): Promise<void> {
  const api = await connectAdmin(flags, context);
  await api.send("DELETE", `/v1/admin/codes/${encodeURIComponent(id)}`, DONE);
  context.deps.stderr.write("The code is revoked.\n");
}
