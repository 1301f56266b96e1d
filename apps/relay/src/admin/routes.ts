import type { Route } from "../http/route.ts";
import type { AdminContext } from "./context.ts";
import { auditRoutes } from "./routes/audit.ts";
import { authorityRoutes } from "./routes/authorities.ts";
import { clusterRoutes } from "./routes/clusters.ts";
import { codeRoutes } from "./routes/codes.ts";
import { eventRoutes } from "./routes/events.ts";
import { grantRoutes } from "./routes/grants.ts";
import { keyRoutes } from "./routes/keys.ts";
import { sessionRoutes } from "./routes/sessions.ts";
import { uidRoutes } from "./routes/uids.ts";

/** Every route for administrators. */
export function adminRoutes(context: AdminContext): readonly Route[] {
  return [
    ...clusterRoutes(context),
    ...authorityRoutes(context),
    ...uidRoutes(context),
    ...keyRoutes(context),
    ...codeRoutes(context),
    ...grantRoutes(context),
    ...sessionRoutes(context),
    ...auditRoutes(context),
    ...eventRoutes(context),
  ];
}
