#!/bin/sh
# Prepares every app and builds its image for both platforms. With PREFIX and PUSH=true they are pushed, too.
set -eu
cd "$(dirname "$0")/../.."
npx -y pnpm@12 install --frozen-lockfile
npx -y pnpm@12 images --prepare
REVISION=$(git rev-parse HEAD)
export REVISION
# The default builder makes one platform at a time only.
docker buildx inspect cluster-connect > /dev/null 2>&1 || docker buildx create --name cluster-connect > /dev/null
if [ "${PUSH:-false}" = true ]; then
  docker buildx bake --builder cluster-connect --push
else
  docker buildx bake --builder cluster-connect
fi
