#!/bin/sh
# The suites that install the chart, on kind. Needs kind, Docker with rights to use it, and Debian's busybox-static.
set -eu
cd "$(dirname "$0")/../.."
npx -y pnpm@12 install --frozen-lockfile
if [ -z "${E2E_IMAGES:-}" ]; then
  E2E_IMAGES=$PWD/dist/images/saved
  npx -y pnpm@12 images --save "$E2E_IMAGES" agent auth-proxy cli
fi
export E2E_IMAGES
CI=true E2E_CLUSTER=kind npx -y pnpm@12 test --project node e2e/suites/node/chart.node.test.ts
