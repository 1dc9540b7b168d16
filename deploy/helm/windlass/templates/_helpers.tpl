{{- define "windlass.name" -}}
{{- default "cluster-autoscaler" .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "windlass.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "windlass.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "windlass.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "windlass.serviceAccountName" -}}
{{- if .Values.rbac.serviceAccount.create -}}
{{- default (include "windlass.fullname" .) .Values.rbac.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.rbac.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "windlass.selector" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/name: {{ include "windlass.name" . | quote }}
{{- end -}}

{{- define "windlass.labels" -}}
{{ include "windlass.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- with .Values.additionalLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Values that mean another cloud, and groups that nobody can find. */}}
{{- define "windlass.check" -}}
{{- if ne .Values.cloudProvider "aws" -}}
{{- fail (printf "cloudProvider: %q: Windlass scales groups of AWS alone, expected aws" .Values.cloudProvider) -}}
{{- end -}}
{{- range list "autoscalingGroupsnamePrefix" "azureClientID" "azureResourceGroup" "azureSubscriptionID" "azureTenantID" "azureClusterName" "magnumClusterName" "clusterAPIKubeconfigSecret" -}}
{{- if index $.Values . -}}
{{- fail (printf "%s is a value of another cloud: leave it out" .) -}}
{{- end -}}
{{- end -}}
{{- if not (or .Values.autoDiscovery.clusterName .Values.autoscalingGroups) -}}
{{- fail "name the cluster in autoDiscovery.clusterName, or the groups in autoscalingGroups" -}}
{{- end -}}
{{- end -}}

{{- define "windlass.hasKeys" -}}
{{- if and .Values.awsAccessKeyID .Values.awsSecretAccessKey -}}true{{- end -}}
{{- end -}}
