#!/bin/sh
# Runs a command beside a Docker daemon of its own, which ends with it. usage: dockerd.sh FOLDER COMMAND...
# Ends with 69 and the daemon's last line where it does not start. DOCKERD_FLAGS are further flags of the daemon. FOLDER keeps images for the next time. Needs root and Debian's docker.io; pods and networks of the machine stay as they are.
set -eu
folder=$1
shift
mkdir -p "$folder"
folder=$(readlink -f "$folder")
export DOCKER_HOST="unix://$folder/docker.sock"
# shellcheck disable=SC2086 # several flags
dockerd --data-root "$folder/data" --exec-root "$folder/run" --pidfile "$folder/pid" --host "$DOCKER_HOST" \
  --iptables=false --ip-masq=false --bridge=none ${DOCKERD_FLAGS:-} > "$folder/dockerd.log" 2>&1 &
daemon=$!
# The daemon ends its own containerd with itself.
trap 'kill "$daemon" 2> /dev/null || true; wait "$daemon" || true' EXIT
trap 'exit 130' INT TERM
until docker version > /dev/null 2>&1; do
  kill -0 "$daemon" 2> /dev/null || { tail -n 1 "$folder/dockerd.log" >&2; exit 69; }
  sleep 0.2
done
"$@"
