#!/bin/sh
# Measures each promise of docs/reliability.md, and writes the table to dist/reliability.txt. A promise that is not kept
# fails.
set -eu
cd "$(dirname "$0")/../.."
npx -y pnpm@12.21.0 install --frozen-lockfile
mkdir -p dist
npx -y pnpm@12.21.0 bench reliability > dist/reliability.txt || { cat dist/reliability.txt; exit 1; }
cat dist/reliability.txt
