{{/* Names and selectors are those of the Go autoscaler's chart, so that a release of its is upgraded
     in place, and a role that trusts its service account trusts this one. */}}
{{- define "windlass.name" -}}
{{- default (printf "%s-cluster-autoscaler" .Values.cloudProvider) .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "windlass.fullname" -}}
{{- $name := default (printf "%s-cluster-autoscaler" .Values.cloudProvider) .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if eq $name .Release.Name -}}
{{- $name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
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

{{/* Annotations whose keys and values are templates; takes (list $ map). */}}
{{- define "windlass.annotations" -}}
{{- $root := index . 0 -}}
{{- range $key, $text := index . 1 }}
{{ tpl $key $root | quote }}: {{ tpl (toString $text) $root | quote }}
{{- end }}
{{- end -}}

{{/* The value of a flag, out of extraArgs and customArgs; takes (list $ "name"). */}}
{{- define "windlass.flag" -}}
{{- $name := index . 1 -}}
{{- $found := "" -}}
{{- range $key, $value := (index . 0).Values.extraArgs -}}
{{- if eq (mustRegexFind "^[^_]+" $key) $name -}}
{{- $found = ternary "true" (toString $value) (kindIs "invalid" $value) -}}
{{- end -}}
{{- end -}}
{{- range (index . 0).Values.customArgs -}}
{{- $words := splitn "=" 2 (toString . | trimPrefix "-" | trimPrefix "-") -}}
{{- if eq $words._0 $name -}}
{{- $found = default "true" $words._1 -}}
{{- end -}}
{{- end -}}
{{- $found -}}
{{- end -}}

{{/* Whether a flag is on, or may be since the environment decides; takes (list $ "name" default). */}}
{{- define "windlass.isOn" -}}
{{- $value := include "windlass.flag" (list (index . 0) (index . 1)) | lower -}}
{{- if contains "$(" $value -}}true
{{- else if $value -}}{{- if has $value (list "true" "t" "1") -}}true{{- end -}}
{{- else if index . 2 -}}true
{{- end -}}
{{- end -}}

{{- define "windlass.hasPriorities" -}}
{{- if has "priority" (splitList "," (include "windlass.flag" (list . "expander"))) -}}true{{- end -}}
{{- end -}}
