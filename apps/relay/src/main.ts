#!/usr/bin/env node
import { runDaemon } from "@cluster-connect/service";
import { runRelay } from "./run.ts";

process.exitCode = await runDaemon(process.argv.slice(2), process, runRelay);
