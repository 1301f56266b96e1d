#!/bin/sh
# Runs a command with kind and a Docker daemon of its own, on a machine that pulls no image: kind is built, its node image
# is made here. usage: kind.sh FOLDER COMMAND...   FOLDER keeps the images for the next time.
# Ends with 69 and one line where that cannot be. Needs root, Go and Debian's docker.io, debootstrap, busybox-static, jq.
set -eu
here=$(dirname "$(readlink -f "$0")")
mkdir -p "$1"
folder=$(readlink -f "$1")
shift
unavailable() {
  echo "no kind on this machine: $1" >&2
  exit 69
}
[ "$(id -u)" = 0 ] || unavailable "a Docker daemon of its own needs root"
for program in dockerd debootstrap busybox jq go; do
  PATH="$PATH:/usr/sbin:/sbin" command -v "$program" > /dev/null ||
    unavailable "$program is missing, see: apt-get install --no-install-recommends docker.io debootstrap busybox-static jq"
done
export PATH="$PATH:/usr/sbin:/sbin"

mkdir -p "$folder/bin" "$folder/programs"
node --conditions=source "$here/../src/cluster/kind/main.ts" > "$folder/paths" || unavailable "its programs are not there, see above"
while read -r path; do ln -sfn "$path" "$folder/programs/"; done < "$folder/paths"
ln -sfn "$folder/programs/kind" "$folder/bin/kind"
module=$(cd "$here/../go/kind" && go mod download -json sigs.k8s.io/kind | jq -r .Dir)

# The image is named by its ingredients.
made_of=$(cat "$here/kind-node.sh" "$folder/paths" | sha256sum | cut -c 1-12)
export E2E_CLUSTER=kind E2E_KIND_IMAGE="cluster-connect.test/kind-node:$made_of" PATH="$folder/bin:$PATH"
export DOCKERD_FLAGS="--add-runtime less=$here/runc-without-resource.sh --default-runtime less"
# shellcheck disable=SC2016 # the shell inside expands it
exec "$here/dockerd.sh" "$folder/docker" sh -c '
  here=$1 programs=$2 module=$3 tried=$4
  shift 4
  if ! docker image inspect "$E2E_KIND_IMAGE" > /dev/null 2>&1; then
    docker image ls --quiet cluster-connect.test/kind-node | xargs --no-run-if-empty docker image rm --force > /dev/null
    echo "making a node image for kind, takes about a minute" >&2
    "$here/kind-node.sh" "$E2E_KIND_IMAGE" "$programs" "$module" > /dev/null
  fi
  docker run --rm --privileged --network none --entrypoint /bin/true "$E2E_KIND_IMAGE" ||
    { echo "no kind on this machine: a privileged container does not start" >&2; exit 69; }
  # Once for each image: what else a machine may withhold shows when a node starts.
  if [ "$(cat "$tried" 2> /dev/null)" != "$E2E_KIND_IMAGE" ]; then
    node --conditions=source "$here/../src/cluster/kind/try.ts" || exit $?
    echo "$E2E_KIND_IMAGE" > "$tried"
  fi
  "$@"
' kind "$here" "$folder/programs" "$module" "$folder/tried" "$@"
