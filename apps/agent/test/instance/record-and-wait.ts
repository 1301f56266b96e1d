/** A process that records itself as an agent does, says so, and waits to be killed. */
import { recordInstance } from "../../src/instance/instance.ts";

const [dir = ""] = process.argv.slice(2);
const { instanceId, follows } = await recordInstance({ dir, graceMs: 60_000 });
process.stdout.write(`${JSON.stringify({ instanceId, follows: follows.length })}\n`);
setInterval(() => undefined, 60_000);
