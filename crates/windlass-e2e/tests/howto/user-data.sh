#!/bin/bash
# User data as nodes of 2019 have it: an Ubuntu image's tools, the token out of a plain parameter,
# kubeadm with flags. Kept with its errors: it is what must go on working.
AZ=$(ec2metadata | grep availability-zone | awk '{print $2}' | sed 's/.$//')
HOST=$(hostname -s).$AZ.compute.internal
hostnamectl set-hostname $HOST
TOKEN=$(aws ssm get-parameter --name jointoken --region $AZ | grep Value | awk '{print $2}' | awk -F'"' '{print $2}' | awk '{print $1}')

systemctl stop apt-daily.service
systemctl kill --kill-who=all apt-daily.service
while ! (systemctl list-units --all apt-daily.service | egrep -q '(dead|failed)')
do
  sleep 1;
done

cat <<EOF | sudo tee /etc/default/kubelet
KUBELET_EXTRA_ARGS=--cloud-provider=aws
EOF

kubeadm join --token $TOKEN API_SERVER --discovery-token-unsafe-skip-ca-verification
