#!/bin/sh
# Known vulnerabilities of what the lockfile names, from the OSV database.
set -eu
cd "$(dirname "$0")/../.."
npx -y pnpm@12.21.0 install --frozen-lockfile
npx -y pnpm@12.21.0 osv
