#!/bin/sh
# Makes a base image of this workspace's own Node and the libraries that it loads, and nothing else: no shell, no
# package manager. For machines that cannot pull an image. usage: base.sh NAME
set -eu
name=$1
here=$(dirname "$(readlink -f "$0")")
node=$(readlink -f "$here/../../node_modules/node/bin/node")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root/nodejs/bin" "$root/etc" "$root/tmp" "$root/home/nonroot"
chmod 1777 "$root/tmp"
chown 65532:65532 "$root/home/nonroot"
cp "$node" "$root/nodejs/bin/node"
ldd "$node" | grep -o '/[^ ]*' | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done
printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' > "$root/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' > "$root/etc/group"
printf 'hosts: files dns\n' > "$root/etc/nsswitch.conf"
tar -C "$root" -c . | docker import --change 'ENV PATH=/nodejs/bin' - "$name"
