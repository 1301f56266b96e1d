#!/bin/sh
# Makes every image on a machine that pulls none, as archives for a node. usage: make.sh FOLDER
# FOLDER/docker keeps the daemon's data for the next time. Needs root and Debian's docker.io.
set -eu
here=$(dirname "$(readlink -f "$0")")
folder=$(mkdir -p "$1" && readlink -f "$1")
base=cluster-connect.test/base:24
cd "$here/../.."
exec "$here/dockerd.sh" "$folder/docker" sh -c '
  e2e/images/base.sh "$1" > /dev/null
  node scripts/images.ts --base "$1" --save "$2" agent auth-proxy cli
' make "$base" "$folder"
