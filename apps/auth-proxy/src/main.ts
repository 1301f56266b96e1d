#!/usr/bin/env node
import { run } from "./run.ts";

process.exitCode = await run(process.argv.slice(2), {
  env: process.env,
  signals: process,
  stdout: (line) => console.log(line),
  stderr: (line) => console.error(line),
});
