#!/bin/sh
# Starts systemd as process 1 over a copy of this machine's files that is thrown away, with one unit and the probe beside
# it, and nothing else of the machine's own: no other unit, no generator, no network but loopback.
# For new namespaces: unshare --mount --pid --uts --ipc --net --cgroup --fork. usage: boot.sh REPOSITORY WORK PROBE
# WORK is an empty folder; what the probe, a file of the repository, saw is in WORK/out afterwards.
set -eu
repository=$1 work=$2 probe=$3
here=$repository/e2e/src/systemd
mount --make-rprivate /
mkdir "$work/out" "$work/layer"
mount -t tmpfs tmpfs "$work/layer"
mkdir "$work/layer/upper" "$work/layer/work" "$work/layer/root"
root=$work/layer/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/layer/upper,workdir=$work/layer/work" "$root"

mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
  mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
  mkdir "$root/sys/fs/cgroup/systemd"
  mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
fi
for folder in dev run tmp etc/systemd/system lib/systemd/system lib/systemd/system-generators; do
  mount -t tmpfs tmpfs "$root/$folder"
done
for device in null zero full random urandom tty; do
  : > "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue" "$root/dev/hugepages"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"

mkdir -p "$root/srv/cluster-connect" "$root/run/out" "$root/etc/cluster-connect"
mount --bind "$repository" "$root/srv/cluster-connect"
mount --bind "$work/out" "$root/run/out"
cp "$here"/etc/* "$root/etc/cluster-connect/"
chmod 644 "$root"/etc/cluster-connect/*
chmod 600 "$root/etc/cluster-connect/webhook"
cp "$here"/units/* "$repository/deploy/relay/cluster-connect-relay.service" "$root/etc/systemd/system/"
mkdir "$root/etc/systemd/system/cluster-connect-relay.service.d"
mv "$root/etc/systemd/system/relay-scene.conf" "$root/etc/systemd/system/cluster-connect-relay.service.d/scene.conf"
sed -i "s#@PROBE@#/srv/cluster-connect/$probe#" "$root/etc/systemd/system/probe.service"
for target in sysinit basic network-online shutdown; do
  printf '[Unit]\nDefaultDependencies=no\n' > "$root/etc/systemd/system/$target.target"
done
cp -L "$repository/node_modules/node/bin/node" "$root/usr/bin/cluster-connect-node"
flags=$(sed -n '1s/.* node //p' "$repository/apps/relay/src/main.ts")
printf '#!/bin/sh\nexec /usr/bin/cluster-connect-node --conditions=source %s %s "$@"\n' \
  "$flags" /srv/cluster-connect/apps/relay/src/main.ts > "$root/usr/bin/cluster-connect-relay"
chmod 755 "$root/usr/bin/cluster-connect-relay"

ip link set lo up
cd "$root"
mkdir old
pivot_root . old
cd /
umount -l /old
# As the machine's first process has it: credentials are mounted by a child.
mount --make-rshared /
export container=other
exec /lib/systemd/systemd --system --unit=scene.target --log-target=null < /dev/null
