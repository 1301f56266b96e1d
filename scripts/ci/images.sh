#!/bin/sh
# Prepares every app and builds its image for both platforms. With ARCHIVES=FOLDER each is written there, too, as an
# archive that needs no further build: FOLDER/APP.tar (OCI).
set -eu
cd "$(dirname "$0")/../.."
npx -y pnpm@12.21.0 install --frozen-lockfile
npx -y pnpm@12.21.0 images --prepare
REVISION=$(git rev-parse HEAD)
export REVISION
# The default builder makes one platform at a time only.
docker buildx inspect cluster-connect > /dev/null 2>&1 || docker buildx create --name cluster-connect > /dev/null
set -- docker buildx bake --builder cluster-connect
if [ -n "${ARCHIVES:-}" ]; then
  mkdir -p "$ARCHIVES"
  for app in relay agent auth-proxy cli; do
    set -- "$@" --set "$app.output=type=oci,dest=$ARCHIVES/$app.tar"
  done
fi
"$@"
