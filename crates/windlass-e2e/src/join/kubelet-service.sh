#!/bin/bash
# The kubelet's unit of kubeadm's packages: started again whenever it ends.
m=$1
while true; do
  KUBELET_KUBEADM_ARGS=''
  if [ -s /var/lib/kubelet/kubeadm-flags.env ]; then . /var/lib/kubelet/kubeadm-flags.env; fi
  KUBELET_EXTRA_ARGS=''
  if [ -s /etc/default/kubelet ]; then . /etc/default/kubelet; fi
  read -ra arguments <<<"$KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS"
  "$m/bin/kubelet" --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
    --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml \
    "${arguments[@]}"
  sleep 1
done
