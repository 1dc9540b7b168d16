#!/bin/bash
# The first process of a machine that boots from a machine image: its root is a copy of the image's,
# its name and its network are its own, and the image's container runtime runs. Everything ends with
# it.
set -eu
readonly m=$1 address=$2 name=$3 image=$4
mount --make-rprivate /
hostname "${name%%.*}"
ip link set lo up
# Not every kernel has other interfaces to give; a kubelet takes any address of its host that is
# no loopback one.
ip address add "$address/32" dev lo
echo 1 >/proc/sys/net/ipv4/ip_forward
readonly disk=$m/disk
mkdir -p "$disk"
mount -t tmpfs tmpfs "$disk"
readonly root=$disk/root
mkdir "$disk/upper" "$disk/work" "$disk/containerd" "$root"
mount -t overlay overlay -o "lowerdir=$image,upperdir=$disk/upper,workdir=$disk/work" "$root"
# An overlay cannot be what other overlays write to, which containers are made of.
mount --bind "$disk/containerd" "$root/var/lib/containerd"
cp -a "$image/var/lib/containerd/." "$root/var/lib/containerd"
mkdir -p "$root/var/lib/kubelet" "$root$m"
mount -t tmpfs tmpfs "$root/var/lib/kubelet"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
# Swap is the host's.
echo 'Filename Type Size Used Priority' >"$disk/swaps"
mount --bind "$disk/swaps" "$root/proc/swaps"
mount -t tmpfs tmpfs "$root/run"
mount --bind "$m" "$root$m"
: >"$m/console"
mount --bind "$m/console" "$root/dev/console"
mkdir "$root/.host"
cd "$root"
pivot_root . .host
cd /
umount -l /.host
rmdir /.host
# As systemd does at the first boot.
tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
echo "127.0.0.1 localhost" >/etc/hosts
echo "$address $name ${name%%.*}" >>/etc/hosts
mkdir -p /etc/kubernetes/manifests /etc/cni/net.d
if [ -s "$m/network.conflist" ]; then
  cp "$m/network.conflist" /etc/cni/net.d/10-test.conflist
fi
# Without systemd there are no cgroups of its making, and not everywhere may a container be spared
# when memory runs out.
sed -i -e 's/SystemdCgroup = true/SystemdCgroup = false/' \
  -e 's/^sandbox_image = .*/&\nrestrict_oom_score_adj = true/' /etc/containerd/config.toml
containerd --log-level info >"$m/containerd.log" 2>&1 &
until [ -S /run/containerd/containerd.sock ]; do sleep 0.1; done
echo ready >"$m/ready"
exec sleep infinity
