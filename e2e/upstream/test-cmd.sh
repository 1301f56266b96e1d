#!/usr/bin/env bash
# Runs groups of Kubernetes' test/cmd against a cluster that is there, in a work folder that is the caller's to remove.
#
#   test-cmd.sh KUBERNETES_SOURCE WORK_FOLDER GROUP...
#
# KUBECONFIG names the cluster. Standard output has one line for each group: its name, and `ok` or `failed`. What a group
# said is in WORK_FOLDER/GROUP.log.
set -euo pipefail
source_folder=$1 work=$2
shift 2

mkdir -p "$work/home/.kube" "$work/bin" "$work/tmp"
# The groups name the server by its address and take its certificate as it is, so the authority has to go. `curl` is no
# client of these groups.
server=$(kubectl config view --minify --flatten --raw -o go-template='{{ (index .clusters 0).cluster.server }}')
kubectl config view --minify --flatten --raw -o json |
  SERVER=$server node -e '
    const config = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
    const user = { name: "test-admin", user: config.users[0].user };
    const cluster = { name: "local", cluster: { server: process.env.SERVER, "insecure-skip-tls-verify": true } };
    const context = { name: "test", context: { cluster: "local", user: "test-admin" } };
    console.log(JSON.stringify({ ...config, clusters: [cluster], users: [user], contexts: [context], "current-context": "test" }));
  ' > "$work/home/.kube/config"
ln -sf "$(command -v kubectl)" "$work/bin/kubectl"

for group in "$@"; do
  outcome=ok
  # A group of its own process: they set traps and change the shell's options.
  env -i PATH="$work/bin:$PATH" HOME="$work/home" TERM=xterm LANG=C TMPDIR="$work/tmp" KUBE_TEMP="$work/tmp" \
    KUBECACHEDIR="$work/home/cache" ARTIFACTS="$work/artifacts" SECURE_API_PORT="${server##*:}" WHAT="$group" ALLOW_SKEW=1 \
    timeout --kill-after=5s 300s bash -c '
      set -o errexit -o nounset -o pipefail
      cd "$1"
      source hack/lib/init.sh
      source hack/lib/test.sh
      source test/cmd/legacy-script.sh
      CONTEXT=test
      SUPPORTED_RESOURCES=("*")
      runTests
    ' bash "$source_folder" > "$work/$group.log" 2>&1 < /dev/null || outcome=failed
  echo "$group $outcome"
done
