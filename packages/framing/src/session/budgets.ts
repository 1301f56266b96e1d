import { createBudget } from "../bytes/budget.ts";
import type { SessionBudgets } from "./options.ts";

/**
 * Divides the memory that all sessions of a process may hold for their streams. A half is for bytes on their way to a
 * peer; of the other one, receive windows begin with a half and grow by a half.
 *
 * A stream may hold more than is left only as far as its peer gives no credit for less: a quarter of its window.
 */
export function createSessionBudgets(bytes: number): Required<SessionBudgets> {
  const [initialWindows, windows] = [createBudget(bytes / 4), createBudget(bytes / 4)];
  return { initialWindows, windows, buffers: createBudget(bytes / 2) };
}
