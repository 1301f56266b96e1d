#!/bin/sh
# Pushes images and charts, and makes the release of the tag that is checked out, with the CLI for every platform.
# Needs REGISTRY, REGISTRY_USER, REGISTRY_TOKEN and GH_TOKEN.
set -eu
cd "$(dirname "$0")/../.."
tag=$(git describe --tags --exact-match)
version=${tag#v}
out=dist/release
rm -rf "$out"
mkdir -p "$out"

expected=$(node -p 'require("./apps/cli/package.json").version')
[ "$version" = "$expected" ] || { echo "the tag says $version, the packages say $expected" >&2; exit 1; }

host=${REGISTRY%%/*}
printf '%s' "$REGISTRY_TOKEN" | docker login "$host" --username "$REGISTRY_USER" --password-stdin
PREFIX="$REGISTRY/" VERSION=$version PUSH=true scripts/ci/images.sh

printf '%s' "$REGISTRY_TOKEN" | helm registry login "$host" --username "$REGISTRY_USER" --password-stdin
for chart in cluster-connect-agent cluster-connect-relay; do
  helm package "deploy/charts/$chart" --version "$version" --app-version "$version" --destination "$out"
  helm push "$out/$chart-$version.tgz" "oci://$REGISTRY/charts"
done

npx -y pnpm@12 --filter @cluster-connect/cli pack:files "$PWD/$out/cluster-connect"
tar -C "$out" -czf "$out/cluster-connect-$version.tar.gz" cluster-connect
rm -r "$out/cluster-connect"
for app in relay agent auth-proxy cli; do
  cp "dist/images/$app/sbom.cdx.json" "$out/$app-$version.sbom.cdx.json"
done
(cd "$out" && sha256sum -- * > SHA256SUMS)
gh release create "$tag" "$out"/* --verify-tag --title "$tag" --notes-from-tag
