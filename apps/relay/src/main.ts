#!/usr/bin/env -S node --max-semi-space-size=2
import { runDaemon } from "@cluster-connect/service";
import { runRelay } from "./run.ts";

process.exitCode = await runDaemon(process.argv.slice(2), process, runRelay);
