#!/usr/bin/env node
import { runDaemon } from "@cluster-connect/service";
import { run } from "./run.ts";

process.exitCode = await runDaemon(process.argv.slice(2), process, run);
