#!/bin/sh
# The checks of every change before its suites: build, types, lint, unit tests, unused code. A fresh clone runs all tests.
set -eu
cd "$(dirname "$0")/../.."
npx -y pnpm@12.21.0 install --frozen-lockfile
npx -y pnpm@12.21.0 check
