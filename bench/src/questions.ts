import type { Lab } from "./lab.ts";
import type { Question } from "./measure.ts";
import { bulk } from "./questions/bulk.ts";
import { hopWindow } from "./questions/hop-window.ts";
import { idle } from "./questions/idle.ts";
import { longBulk } from "./questions/long-bulk.ts";
import { longSetUp } from "./questions/long-set-up.ts";
import { ping } from "./questions/ping.ts";
import { pingUnderBulk } from "./questions/ping-under-bulk.ts";
import { requests } from "./questions/requests.ts";
import { setUp } from "./questions/set-up.ts";
import { stalled } from "./questions/stalled.ts";

/** Every question by its name on the command line. */
export const QUESTIONS: ReadonlyMap<string, (lab: Lab) => Promise<Question>> = new Map([
  ["bulk", bulk],
  ["ping", ping],
  ["ping-under-bulk", pingUnderBulk],
  ["hop-window", hopWindow],
  ["requests", requests],
  ["set-up", setUp],
  ["long-set-up", longSetUp],
  ["long-bulk", longBulk],
  ["idle", idle],
  ["stalled", stalled],
]);
