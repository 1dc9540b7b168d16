{{/* The names of values, those of the Go autoscaler's chart and our own; below a slash, those of the
     maps whose names are fixed. */}}
{{- define "windlass.names" -}}
/: [additionalLabels, affinity, autoDiscovery, autoscalingGroups, awsAccessKeyID, awsRegion,
  awsSecretAccessKey, cloudConfigPath, cloudProvider, command, containerSecurityContext, customArgs,
  deployment, dnsConfig, dnsPolicy, envFromConfigMap, envFromConfigMapOptional, envFromSecret,
  expanderPriorities, extraArgs, extraEnv, extraEnvConfigMaps, extraEnvSecrets, extraObjects,
  extraVolumeMounts, extraVolumeSecrets, extraVolumes, fullnameOverride, global, hostNetwork, image,
  initContainers, kubeTargetVersionOverride, livenessProbe, nameOverride, networkPolicy,
  nodeSelector, podAnnotations, podDisruptionBudget, podLabels, priorityClassName,
  priorityConfigMapAnnotations, prometheusRule, rbac, readinessProbe, replicaCount, resources,
  revisionHistoryLimit, secretKeyRefNameOverride, securityContext, service, serviceMonitor,
  tolerations, topologySpreadConstraints, updateStrategy, vpa]
autoDiscovery/: [clusterName, labels, namespace, roles, tags]
deployment/: [annotations, selector]
image/: [pullPolicy, pullSecrets, repository, tag]
networkPolicy/: [apiServer, enabled, prometheus]
podDisruptionBudget/: [annotations, maxUnavailable, minAvailable, selector]
prometheusRule/: [additionalLabels, enabled, interval, namespace, rules]
rbac/: [additionalRules, annotations, clusterScoped, create, pspEnabled, serviceAccount]
service/: [annotations, clusterIP, create, externalIPs, labels, loadBalancerIP,
  loadBalancerSourceRanges, portName, selector, servicePort, type]
serviceMonitor/: [annotations, enabled, interval, metricRelabelings, namespace, path, relabelings,
  selector]
vpa/: [containerPolicy, enabled, recommender, updateMode]
{{- end -}}

{{/* Values of other clouds with what stands in that chart's own file: a copy of it does no harm. */}}
{{- define "windlass.foreign" -}}
autoscalingGroupsnamePrefix: []
azureClientID: ""
azureClientSecret: ""
azureClusterName: ""
azureEnableForceDelete: false
azureEnableVMSSEtag: false
azureNodeResourceGroup: ""
azureResourceGroup: ""
azureSubscriptionID: ""
azureTenantID: ""
azureUseManagedIdentityExtension: false
azureUserAssignedIdentityID: ""
azureUseWorkloadIdentityExtension: false
azureVMType: vmss
civoApiKey: ""
civoApiUrl: https://api.civo.com
civoClusterID: ""
civoRegion: ""
clusterAPICloudConfigPath: /etc/kubernetes/mgmt-kubeconfig
clusterAPIConfigMapsNamespace: ""
clusterAPIKubeconfigSecret: ""
clusterAPIMode: incluster-incluster
clusterAPIWorkloadKubeconfigPath: /etc/kubernetes/value
kwokConfigMapName: kwok-provider-config
magnumCABundlePath: /etc/kubernetes/ca-bundle.crt
magnumClusterName: ""
{{- end -}}

{{/* Refuses what would be rendered as something else than was meant. */}}
{{- define "windlass.check" -}}
{{- if ne .Values.cloudProvider "aws" -}}
{{- fail (printf "cloudProvider: %q: Windlass scales groups of AWS alone, expected aws" .Values.cloudProvider) -}}
{{- end -}}
{{- $foreign := include "windlass.foreign" . | fromYaml -}}
{{- range $name, $harmless := $foreign -}}
{{- $value := index $.Values $name -}}
{{- if and $value (ne (toJson $value) (toJson $harmless)) -}}
{{- fail (printf "%s is a value of another cloud: leave it out" $name) -}}
{{- end -}}
{{- end -}}
{{- if .Values.autoDiscovery.namespace -}}
{{- fail "autoDiscovery.namespace is a value of another cloud: leave it out" -}}
{{- end -}}
{{- if .Values.autoDiscovery.labels -}}
{{- fail "autoDiscovery.labels is a value of another cloud: leave it out, tags are in autoDiscovery.tags" -}}
{{- end -}}
{{- if .Values.autoDiscovery.roles -}}
{{- if ne (toJson .Values.autoDiscovery.roles) (toJson (list "worker")) -}}
{{- fail "autoDiscovery.roles is a value of another cloud: leave it out, tags are in autoDiscovery.tags" -}}
{{- end -}}
{{- end -}}
{{- range $index, $group := .Values.autoscalingGroups -}}
{{- range $name, $_ := $group -}}
{{- if has $name (list "instanceType" "region") -}}
{{- fail (printf "autoscalingGroups[%d].%s is a value of another cloud: leave it out" $index $name) -}}
{{- else if not (has $name (list "name" "minSize" "maxSize")) -}}
{{- fail (printf "autoscalingGroups[%d].%s is not known: expected name, minSize and maxSize" $index $name) -}}
{{- end -}}
{{- end -}}
{{- range $name := list "name" "minSize" "maxSize" -}}
{{- if not (hasKey $group $name) -}}
{{- fail (printf "autoscalingGroups[%d].%s is missing" $index $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.rbac.pspEnabled -}}
{{- fail "rbac.pspEnabled: Kubernetes has no PodSecurityPolicy since 1.25: leave it out, the pods pass Pod Security \"restricted\"" -}}
{{- end -}}
{{- $all := toJson .Values -}}
{{- range $path, $names := include "windlass.names" . | fromYaml -}}
{{- $map := $.Values -}}
{{- $prefix := "" -}}
{{- if ne $path "/" -}}
{{- $map = index $.Values (trimSuffix "/" $path) | default dict -}}
{{- $prefix = printf "%s." (trimSuffix "/" $path) -}}
{{- end -}}
{{- range $name, $_ := $map -}}
{{- $isOwn := and (eq $path "/") (contains (printf ".Values.%s" $name) $all) -}}
{{- $isForeign := and (eq $path "/") (hasKey $foreign $name) -}}
{{- if not (or (has $name $names) $isOwn $isForeign) -}}
{{- fail (printf "%s%s is not known: expected one of %s%s" $prefix $name (join ", " $names) (ternary "; a value of your own must be used by a template" "" (eq $path "/"))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not (or .Values.autoDiscovery.clusterName .Values.autoscalingGroups) -}}
{{- fail "name the cluster in autoDiscovery.clusterName, or the groups in autoscalingGroups" -}}
{{- end -}}
{{- end -}}
