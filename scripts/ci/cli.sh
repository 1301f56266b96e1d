#!/bin/sh
# The CLI's unit tests and those of what it is made of, on the system that runs this: macOS, Windows (Git's sh) or Linux.
set -eu
cd "$(dirname "$0")/../.."
npx -y pnpm@12.21.0 install --frozen-lockfile
export CI=true
exec npx -y pnpm@12.21.0 exec vitest run --project unit apps/cli packages/base packages/protocol packages/api packages/framing packages/auth
