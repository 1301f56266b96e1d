#!/bin/sh
# Pushes, signs and publishes what release-build.sh made. It runs nothing of ours and nothing from a package registry:
# skopeo, helm, cosign and gh alone see the tokens.
# Needs TAG, REGISTRY, REGISTRY_USER, REGISTRY_TOKEN and GH_TOKEN, and an identity that cosign can sign with.
set -eu
cd "$(dirname "$0")/../.."
version=${TAG#v}
out=dist/release
host=${REGISTRY%%/*}
(cd "$out" && sha256sum --check --quiet SHA256SUMS)
(cd dist/release-images && sha256sum --check --quiet SHA256SUMS)

printf '%s' "$REGISTRY_TOKEN" | skopeo login "$host" --username "$REGISTRY_USER" --password-stdin
printf '%s' "$REGISTRY_TOKEN" | cosign login "$host" --username "$REGISTRY_USER" --password-stdin
printf '%s' "$REGISTRY_TOKEN" | helm registry login "$host" --username "$REGISTRY_USER" --password-stdin

: > dist/release-images/digests
for app in relay agent auth-proxy cli; do
  skopeo copy --all --preserve-digests --digestfile "dist/release-images/$app.digest" \
    "oci-archive:dist/release-images/$app.tar" "docker://$REGISTRY/$app:$version"
  digest=$(cat "dist/release-images/$app.digest")
  # The digest, not the tag: a tag may name another image tomorrow.
  cosign sign --yes --recursive "$REGISTRY/$app@$digest"
  cosign attest --yes --type cyclonedx --predicate "$out/$app-$version.sbom.cdx.json" "$REGISTRY/$app@$digest"
  printf '%s  %s\n' "${digest#sha256:}" "$REGISTRY/$app" >> dist/release-images/digests
done
for chart in cluster-connect-agent cluster-connect-relay; do
  helm push "$out/$chart-$version.tgz" "oci://$REGISTRY/charts"
done
cosign sign-blob --yes --bundle "$out/SHA256SUMS.sigstore.json" "$out/SHA256SUMS"
gh release create "$TAG" "$out"/* --verify-tag --title "$TAG" --notes-from-tag
