import type { Lab } from "./lab.ts";
import type { Question } from "./measure.ts";
import { bulk, bulkInnerTls } from "./questions/bulk.ts";
import { hopWindow } from "./questions/hop-window.ts";
import { idle } from "./questions/idle.ts";
import { informers } from "./questions/informers.ts";
import { longBulk } from "./questions/long-bulk.ts";
import { longSetUp } from "./questions/long-set-up.ts";
import { longPing, ping } from "./questions/ping.ts";
import { pingUnderBulk } from "./questions/ping-under-bulk.ts";
import { longRequests, requests } from "./questions/requests.ts";
import { setUp } from "./questions/set-up.ts";
import { stalled } from "./questions/stalled.ts";

/** Every question by its name on the command line. */
export const QUESTIONS: ReadonlyMap<string, (lab: Lab) => Promise<Question>> = new Map([
  ["bulk", bulk],
  ["bulk-tls", bulkInnerTls],
  ["ping", ping],
  ["ping-under-bulk", pingUnderBulk],
  ["hop-window", hopWindow],
  ["requests", requests],
  ["set-up", setUp],
  ["long-ping", longPing],
  ["long-requests", longRequests],
  ["long-set-up", longSetUp],
  ["long-bulk", longBulk],
  ["idle", idle],
  ["stalled", stalled],
  ["informers", informers],
]);
