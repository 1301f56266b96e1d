#!/bin/sh
# The suites that install the chart, on kind. Needs Docker, and rights to use it.
set -eu
cd "$(dirname "$0")/../.."
npx -y pnpm@12 install --frozen-lockfile
CI=true E2E_CLUSTER=kind npx -y pnpm@12 test --project node e2e/suites/node/chart.node.test.ts
