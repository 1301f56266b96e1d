#!/bin/sh
# What every change passes before its suites: build, types, lint, unit tests, unused code.
set -eu
cd "$(dirname "$0")/../.."
npx -y pnpm@12 install --frozen-lockfile
npx -y pnpm@12 check
