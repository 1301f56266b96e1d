import type { ClusterId } from "./ids.ts";

const PLACE = "{cluster}";
const CLUSTER_ID = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** Whether a text can be the clusters' audience: not empty, and `{cluster}` at most once in it. */
export function isAudienceTemplate(text: string): boolean {
  return text.length > 0 && text.split(PLACE).length <= 2;
}

/**
 * The audience of one cluster.
 *
 * @param template the clusters' audience as it is configured: one for all, or with `{cluster}` in place of the id.
 */
export function clusterAudienceOf(template: string, clusterId: ClusterId): string {
  return template.replace(PLACE, clusterId);
}

/** Whether each cluster has an audience of its own. */
export function hasOwnAudiences(template: string): boolean {
  return template.includes(PLACE);
}

/** Whether an audience is that of some cluster, so that a token for it would count there. */
export function isClusterAudience(template: string, audience: string): boolean {
  const [before = "", after] = template.split(PLACE);
  if (after === undefined) return audience === template;
  if (!audience.startsWith(before) || !audience.endsWith(after)) return false;
  return CLUSTER_ID.test(audience.slice(before.length, audience.length - after.length));
}
