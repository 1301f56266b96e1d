/** So many values fit into one statement of any database, also where each is a row of a dozen columns. */
const BATCH_SIZE = 500;

/** Cuts a list for statements: databases bound the values of one, at 32,766 (SQLite) or 65,535 (PostgreSQL). */
export function batches<T>(items: readonly T[], size: number = BATCH_SIZE): readonly (readonly T[])[] {
  const count = Math.ceil(items.length / size);
  return Array.from({ length: count }, (_, index) => items.slice(index * size, (index + 1) * size));
}
