#!/bin/sh
# Makes a node image for kind on a machine that pulls none. usage: kind-node.sh NAME BINARIES KIND_MODULE
# BINARIES holds kubeadm, kubelet, kubectl, kube-proxy, kube-apiserver, kube-controller-manager, kube-scheduler, etcd and coredns;
# KIND_MODULE is the folder of the Go module sigs.k8s.io/kind. Needs root, debootstrap, busybox-static and Docker.
set -eu
name=$1
binaries=$2
module=$3
version=$("$binaries/kubeadm" version -o short)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

packages=systemd,systemd-sysv,dbus,containerd,runc,containernetworking-plugins,iptables,iproute2,kmod,conntrack,ethtool
packages=$packages,socat,util-linux,mount,procps,jq,ca-certificates
debootstrap --variant=minbase "--include=$packages" bookworm "$root" > "$work/debootstrap.log" 2>&1 ||
  { tail -n 3 "$work/debootstrap.log" >&2; exit 1; }
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*

# What kind's own base image lays down.
cp -r "$module/images/base/files/." "$root/"
chmod -R u+w "$root/kind" "$root/etc"
chmod 755 "$root"/kind/bin/* "$root"/usr/local/bin/*
cp "$binaries/kubeadm" "$binaries/kubelet" "$binaries/kubectl" "$root/usr/bin/"
chmod 755 "$root/usr/bin/kubeadm" "$root/usr/bin/kubelet" "$root/usr/bin/kubectl"
echo "$version" > "$root/kind/version"
mkdir -p "$root/kind/manifests" "$root/kind/img" "$root/etc/kubernetes/manifests" "$root/etc/cni/net.d"
harmless() {
  printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: kube-system}\n' "$1"
}
harmless no-cni > "$root/kind/manifests/default-cni.yaml"
harmless no-storage > "$root/kind/manifests/default-storage.yaml"

# Debian's containerd, without the limits and the OOM score that a machine without CAP_SYS_RESOURCE refuses.
sed -i -e '/^OOMScoreAdjust/d' -e '/^Limit/d' -e 's#/usr/local/bin/containerd#/usr/bin/containerd#' \
  "$root/etc/systemd/system/containerd.service"
cat > "$root/etc/containerd/config.toml" << 'TOML'
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10.2"
  restrict_oom_score_adj = true
  tolerate_missing_hugepages_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = true
TOML
cat > "$root/etc/cni/net.d/10-bridge.conflist" << 'JSON'
{"cniVersion":"0.4.0","name":"pods","plugins":[{"type":"bridge","bridge":"pods0","isGateway":true,"ipMasq":true,
"hairpinMode":true,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.244.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
{"type":"portmap","capabilities":{"portMappings":true}}]}
JSON
cat > "$root/etc/systemd/system/import-images.service" << 'UNIT'
[Unit]
After=containerd.service
Requires=containerd.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'for image in /kind/img/*.tar; do ctr -n k8s.io images import "$image"; done'
[Install]
WantedBy=multi-user.target
UNIT
# CNI is there before kube-proxy: what pods send to Services until then is refused, so that they ask again at once.
# Without this their first attempts are lost on the way out, and each waits half a minute for an answer.
cat > "$root/etc/systemd/system/services-refused.service" << 'UNIT'
[Unit]
Before=kubelet.service
[Service]
Type=oneshot
ExecStart=/usr/sbin/iptables -A FORWARD -d 10.96.0.0/16 -j REJECT
[Install]
WantedBy=multi-user.target
UNIT
rm -f "$root"/lib/systemd/system/multi-user.target.wants/* "$root"/etc/systemd/system/*.wants/* \
  "$root"/lib/systemd/system/local-fs.target.wants/* "$root"/lib/systemd/system/sockets.target.wants/*udev* \
  "$root"/lib/systemd/system/sockets.target.wants/*initctl* "$root"/lib/systemd/system/basic.target.wants/*
rm -f "$root/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service"
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
for unit in kubelet containerd undo-mount-hacks import-images services-refused; do
  ln -s "/etc/systemd/system/$unit.service" "$root/etc/systemd/system/multi-user.target.wants/$unit.service"
done
ln -sf /dev/null "$root/etc/systemd/system/systemd-binfmt.service"
echo "ReadKMsg=no" >> "$root/etc/systemd/journald.conf"

# Control plane: a static program each, under the names that kubeadm asks for.
image() { # NAME FOLDER CHANGE
  tar -C "$2" -c . | docker import --change "$3" - "$1" > /dev/null
  docker save --output "$root/kind/img/$(echo "$1" | tr '/:' '__').tar" "$1"
}
program() { # NAME PROGRAM [CHANGE]
  mkdir -p "$work/$2/usr/local/bin"
  cp "$binaries/$2" "$work/$2/usr/local/bin/$2"
  chmod 755 "$work/$2/usr/local/bin/$2"
  image "$1" "$work/$2" "${3:-ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}"
}
# What kube-proxy runs: iptables of the node, conntrack, and every library of theirs, the loader above all.
tables() { # FOLDER
  mkdir -p "$1/run" "$1/tmp"
  for modules in "$root"/usr/lib/*/xtables; do
    mkdir -p "$1/${modules#"$root"/}" && cp -r "$modules/." "$1/${modules#"$root"/}/"
  done
  mkdir -p "$1/usr/sbin" "$1/etc/alternatives"
  cp -d "$root"/usr/sbin/*tables* "$root/usr/sbin/conntrack" "$1/usr/sbin/"
  cp -d "$root"/etc/alternatives/*tables* "$1/etc/alternatives/"
  # shellcheck disable=SC2016 # the shell inside expands it
  chroot "$root" sh -c 'for one in /usr/sbin/xtables-* /usr/sbin/conntrack /usr/lib/*/xtables/*.so; do ldd $one; done' |
    grep -o '/[^ :]*' | sort -u | while read -r library; do
      mkdir -p "$1$(dirname "$library")"
      cp -L "$root$library" "$1$library"
    done
  chroot "$1" /usr/sbin/iptables --version > /dev/null
}
"$binaries/kubeadm" config images list --kubernetes-version "$version" > "$work/names"
while read -r one; do
  case $one in
    */etcd:*) program "$one" etcd ;;
    */kube-proxy:*)
      tables "$work/kube-proxy"
      program "$one" kube-proxy
      ;;
    */coredns:*) program "$one" coredns 'ENTRYPOINT ["/usr/local/bin/coredns"]' ;;
    */pause:*)
      mkdir -p "$work/pause/bin"
      cp "$(command -v busybox)" "$work/pause/bin/busybox"
      image registry.k8s.io/pause:3.10.2 "$work/pause" 'ENTRYPOINT ["/bin/busybox", "sleep", "2147483647"]'
      ;;
    *) program "$one" "$(echo "$one" | sed 's#.*/\([^:]*\):.*#\1#')" ;;
  esac
done < "$work/names"

tar -C "$root" -c . | docker import --change 'ENV container=docker' \
  --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' - "$name"
