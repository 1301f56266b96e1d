/** Listens on the unix socket named by its argument with the shortest queue, and says so. */
import { createServer } from "node:net";

createServer().listen({ path: process.argv[2], backlog: 1 }, () => process.stdout.write("listening\n"));
