/** Between a group and a name in a cluster's id: `shop--web` is the cluster `web` of the group `shop`. */
const SEPARATOR = "--";

/**
 * The id that a name means in a group. A group is the beginning of a cluster's id. Where the relay has no such group,
 * the name stands for itself, as commands written for Azure Arc always give one.
 *
 * @param offered ids that the caller may reach.
 */
export function idInGroup(name: string, group: string | undefined, offered: readonly string[]): string {
  if (group === undefined) return name;
  const prefix = `${groupPart(group)}${SEPARATOR}`;
  return offered.some((id) => id.startsWith(prefix)) ? `${prefix}${name}` : name;
}

/** Azure's groups may have capitals, dots, underscores and parentheses, which ids do not. */
function groupPart(group: string): string {
  return group
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "");
}
