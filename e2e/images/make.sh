#!/bin/sh
# Makes images on a machine that pulls none, as archives for a node. usage: make.sh FOLDER [APP...], every app without one
# DOCKER_FOLDER, FOLDER/docker without it, keeps the daemon's data for the next time. Needs root and Debian's docker.io.
set -eu
here=$(dirname "$(readlink -f "$0")")
folder=$(mkdir -p "$1" && readlink -f "$1")
shift
base=cluster-connect.test/base:24
cd "$here/../.."
# shellcheck disable=SC2016 # the shell inside expands it
exec "$here/dockerd.sh" "${DOCKER_FOLDER:-$folder/docker}" sh -c '
  base=$1 folder=$2
  shift 2
  e2e/images/base.sh "$base" > /dev/null
  node scripts/images.ts --base "$base" --save "$folder" "$@"
' make "$base" "$folder" "$@"
