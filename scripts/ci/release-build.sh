#!/bin/sh
# Makes all that a release of the tag that is checked out publishes, in dist/release and dist/release-images. It has no
# secret and may write nothing: what runs here has come from a registry.
set -eu
cd "$(dirname "$0")/../.."
tag=$(git describe --tags --exact-match)
version=${tag#v}
out=dist/release
rm -rf "$out" dist/release-images
mkdir -p "$out"

expected=$(node -p 'require("./apps/cli/package.json").version')
[ "$version" = "$expected" ] || { echo "the tag says $version, the packages say $expected" >&2; exit 1; }

VERSION=$version ARCHIVES=$PWD/dist/release-images scripts/ci/images.sh
for chart in cluster-connect-agent cluster-connect-relay; do
  helm package "deploy/charts/$chart" --version "$version" --app-version "$version" --destination "$out"
done
npx -y pnpm@12.21.0 --filter @cluster-connect/cli pack:files "$PWD/$out/cluster-connect"
tar -C "$out" -czf "$out/cluster-connect-$version.tar.gz" cluster-connect
rm -r "$out/cluster-connect"
for app in relay agent auth-proxy cli; do
  cp "dist/images/$app/sbom.cdx.json" "$out/$app-$version.sbom.cdx.json"
done
(cd "$out" && sha256sum -- * > SHA256SUMS)
(cd dist/release-images && sha256sum -- *.tar > SHA256SUMS)
