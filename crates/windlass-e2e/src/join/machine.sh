#!/bin/bash
# The first process of a machine: private mounts over the places that a node writes to, a name and a
# network of its own, and a container runtime. Everything ends with it.
set -eu
readonly m=$1 address=$2 name=$3
mount --make-rprivate /
hostname "${name%%.*}"
ip link set lo up
# Not every kernel has other interfaces to give; a kubelet takes any address of its host that is
# no loopback one.
ip address add "$address/32" dev lo
echo 1 >/proc/sys/net/ipv4/ip_forward
for place in etc var; do
  mkdir -p "$m/$place.upper" "$m/$place.work"
  mount -t overlay overlay \
    -o "lowerdir=/$place,upperdir=$m/$place.upper,workdir=$m/$place.work" "/$place"
done
mount -t tmpfs tmpfs /run
echo "$address $name ${name%%.*}" >>/etc/hosts
mkdir -p /etc/kubernetes/manifests /etc/cni/net.d /var/lib/kubelet /var/lib/containerd
mount -t tmpfs tmpfs /var/lib/kubelet
mount -t tmpfs tmpfs /var/lib/containerd
# The console of the test's host is not this machine's.
: >"$m/console"
mount --bind "$m/console" /dev/console
if [ -s "$m/network.conflist" ]; then
  cp "$m/network.conflist" /etc/cni/net.d/10-test.conflist
fi
containerd --config "$m/containerd.toml" --log-level info >"$m/containerd.log" 2>&1 &
until [ -S /run/containerd/containerd.sock ]; do sleep 0.1; done
echo ready >"$m/ready"
exec sleep infinity
