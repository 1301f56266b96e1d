import { parseClusterId } from "@cluster-connect/protocol";
import { addEnrollmentCode } from "../../src/store/queries/enrollment-codes.ts";
import { openStore } from "../../src/store/store.ts";

// Writes rows for as long as it lives, and says each one that was committed; with "turns", waits for an answer to each.
const turns = process.argv[3] === "turns" ? process.stdin[Symbol.asyncIterator]() : undefined;
const store = await openStore(JSON.parse(process.argv[2] ?? ""), new Date());
for (let count = 0; ; count += 1) {
  const name = `cluster-${process.pid}-${count}`;
  await addEnrollmentCode(store.db, { clusterId: parseClusterId(name), hash: name, expiresAt: new Date() }, new Date());
  process.stdout.write(`${name}\n`);
  await turns?.next();
}
