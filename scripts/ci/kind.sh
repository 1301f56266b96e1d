#!/bin/sh
# The suites on kind. usage: kind.sh [ARGUMENTS OF pnpm test]   PROJECT is one of e2e and node, both without it.
# Needs kind, Docker with rights to use it, and Debian's busybox-static; as root on a machine without a Docker daemon,
# what e2e/images/kind.sh needs. Ends with 69 and one line where there can be no kind.
set -eu
cd "$(dirname "$0")/../.."
npx -y pnpm@12.21.0 install --frozen-lockfile
export CI=true E2E_CLUSTER=kind
if [ -z "${E2E_KIND_IMAGE:-}" ] && ! docker version > /dev/null 2>&1; then
  folder=${XDG_CACHE_HOME:-$HOME/.cache}/cluster-connect
  if [ -z "${E2E_IMAGES:-}" ]; then
    E2E_IMAGES=$folder/images
    export E2E_IMAGES
    PATH=$PWD/node_modules/.bin:$PATH e2e/images/make.sh "$E2E_IMAGES"
  fi
  exec npx -y pnpm@12.21.0 exec e2e/images/kind.sh "$folder/kind" "$PWD/scripts/ci/kind.sh" "$@"
fi
if [ -z "${E2E_IMAGES:-}" ]; then
  E2E_IMAGES=$PWD/dist/images/saved
  export E2E_IMAGES
  npx -y pnpm@12.21.0 images --save "$E2E_IMAGES" agent auth-proxy cli relay
fi
if [ -n "${PROJECT:-}" ]; then
  exec npx -y pnpm@12.21.0 test --project "$PROJECT" "$@"
fi
exec npx -y pnpm@12.21.0 test --project e2e --project node "$@"
