{{- define "relay.name" -}}
{{- default .Chart.Name .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "relay.labels" -}}
app.kubernetes.io/name: cluster-connect-relay
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "relay.selector" -}}
app.kubernetes.io/name: cluster-connect-relay
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "relay.several" -}}
{{- if or (gt (int .Values.replicas) 1) .Values.autoscaling.enabled }}true{{ end -}}
{{- end -}}

{{/* Everything wrong with the values at once. */}}
{{- define "relay.problems" -}}
{{- $problems := list -}}
{{- if not .Values.publicUrl }}{{ $problems = append $problems "publicUrl is required: what agents and CLIs dial" }}{{ end -}}
{{- if not .Values.authentication }}{{ $problems = append $problems "authentication is required: whose tokens are believed" }}{{ end -}}
{{- if include "relay.several" . }}
{{- if not .Values.store.postgres.existingSecret }}{{ $problems = append $problems "store.postgres.existingSecret is required with more than one relay" }}{{ end -}}
{{- if not .Values.peers.existingSecret }}{{ $problems = append $problems "peers.existingSecret is required with more than one relay" }}{{ end -}}
{{- if .Values.persistence.enabled }}{{ $problems = append $problems "persistence is for one relay; several share PostgreSQL" }}{{ end -}}
{{- else if and (not .Values.store.postgres.existingSecret) (not .Values.persistence.enabled) }}
{{- $problems = append $problems "one relay needs store.postgres.existingSecret or persistence.enabled" }}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}{{ $problems = append $problems "ingress.host is required with ingress.enabled" }}{{ end -}}
{{- if $problems }}{{ fail (printf "\n- %s" (join "\n- " $problems)) }}{{ end -}}
{{- end -}}

{{/* The relay's settings; each pod's own address at its peers comes from the environment. */}}
{{- define "relay.config" -}}
{{- $config := dict
  "listen" (dict "host" "0.0.0.0" "port" 8443)
  "publicUrl" .Values.publicUrl
  "authenticationConfig" "/etc/cluster-connect/config/authentication.yaml"
  "grants" .Values.grants
  "admins" .Values.admins
  "trustedProxies" .Values.trustedProxies
  "drainSeconds" .Values.drainSeconds
  "metrics" (dict "host" "0.0.0.0" "port" .Values.metrics.port)
-}}
{{- if .Values.store.postgres.existingSecret }}
{{- $_ := set $config "store" (dict "postgres" (dict "urlFile" "/etc/cluster-connect/store/url")) }}
{{- else }}
{{- $_ := set $config "dataDir" "/var/lib/cluster-connect" }}
{{- end }}
{{- if .Values.tls.existingSecret }}
{{- $_ := set $config "tls" (dict "certFile" "/etc/cluster-connect/tls/tls.crt" "keyFile" "/etc/cluster-connect/tls/tls.key") }}
{{- end }}
{{- if .Values.login }}{{ $_ := set $config "login" .Values.login }}{{ end }}
{{- if .Values.grantsConfigMap }}{{ $_ := set $config "grantsDir" "/etc/cluster-connect/grants" }}{{ end }}
{{- if include "relay.several" . }}
{{- $_ := set $config "peers" (dict
  "listen" (dict "host" "0.0.0.0" "port" .Values.peers.port)
  "certFile" "/etc/cluster-connect/peers/tls.crt"
  "keyFile" "/etc/cluster-connect/peers/tls.key"
  "caFile" "/etc/cluster-connect/peers/ca.crt") }}
{{- end }}
{{- toYaml (mergeOverwrite $config .Values.config) -}}
{{- end -}}
