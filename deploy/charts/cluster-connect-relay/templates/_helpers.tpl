{{/* With `--reuse-values` helm takes the former chart's values.yaml, which lacks what is new: said here, and by no broken object. */}}
{{- define "relay.complete" -}}
{{- $missing := list -}}
{{- range list "audit" "autoscaling" "config" "image" "ingress" "metrics" "networkPolicy" "peers" "persistence" "podDisruptionBudget" "service" "serviceAccount" "store" "tls" -}}
{{- if not (kindIs "map" (get $.Values .)) }}{{ $missing = append $missing . }}{{ end -}}
{{- end -}}
{{- if $missing }}{{ fail (printf "these values are missing: %s. Upgrade with --reset-then-reuse-values, not with --reuse-values" (join ", " $missing)) }}{{ end -}}
{{- end -}}

{{/* The release's name, below another chart with this chart's own. One that is cut, that no Service may have, or that is an object's
name of another release, such as `a-peers` beside `a`, gets a hash. */}}
{{- define "relay.name" -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) .Chart.IsRoot -}}
{{- if and (regexMatch "^[a-z][-a-z0-9]{0,39}$" $name) (not (regexMatch "-(peers|test)$" $name)) -}}{{ $name }}
{{- else -}}
{{- $start := regexReplaceAll "^([0-9])" ($name | replace "." "-") "n${1}" | trunc 31 | trimSuffix "-" -}}
{{ printf "%s-%s" $start ($name | sha256sum | trunc 8) }}
{{- end -}}
{{- end -}}

{{- define "relay.labels" -}}
app.kubernetes.io/name: cluster-connect-relay
app.kubernetes.io/instance: {{ include "relay.name" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "relay.selector" -}}
app.kubernetes.io/name: cluster-connect-relay
app.kubernetes.io/instance: {{ include "relay.name" . }}
{{- end -}}

{{/* OpenShift gives each namespace its own user and group; elsewhere they are named. */}}
{{- define "relay.podSecurity" -}}
runAsNonRoot: true
seccompProfile: { type: RuntimeDefault }
{{- if not (.Capabilities.APIVersions.Has "security.openshift.io/v1") }}
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
{{- end }}
{{- end -}}

{{- define "relay.image" -}}
{{- with (.Values.global).imageRegistry }}{{ trimSuffix "/" . }}/{{ end -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
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
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- $problems = append $problems "autoscaling.minReplicas is more than autoscaling.maxReplicas" }}
{{- end -}}
{{- if and .Values.service.externalTrafficPolicy (eq .Values.service.type "ClusterIP") }}
{{- $problems = append $problems "service.externalTrafficPolicy is for service.type LoadBalancer or NodePort" }}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}{{ $problems = append $problems "ingress.host is required with ingress.enabled" }}{{ end -}}
{{- if $problems }}{{ fail (printf "\n- %s" (join "\n- " $problems)) }}{{ end -}}
{{- end -}}

{{/* The relay's settings; each pod's own address at its peers comes from the environment. */}}
{{- define "relay.config" -}}
{{- $config := dict
  "listen" (dict "host" .Values.listenHost "port" 8443)
  "publicUrl" .Values.publicUrl
  "authenticationConfig" "/etc/cluster-connect/config/authentication.yaml"
  "grants" .Values.grants
  "admins" .Values.admins
  "trustedProxies" .Values.trustedProxies
  "drainSeconds" .Values.drainSeconds
  "metrics" (dict "host" .Values.listenHost "port" .Values.metrics.port)
-}}
{{- if .Values.store.postgres.existingSecret }}
{{- $_ := set $config "store" (dict "postgres" (dict "urlFile" "/etc/cluster-connect/store/url")) }}
{{- else }}
{{- $_ := set $config "dataDir" "/var/lib/cluster-connect" }}
{{- end }}
{{- if .Values.tls.existingSecret }}
{{- $_ := set $config "tls" (dict "certFile" "/etc/cluster-connect/tls/tls.crt" "keyFile" "/etc/cluster-connect/tls/tls.key") }}
{{- end }}
{{- with .Values.audit.seal }}
{{- if .existingSecret }}
{{- $former := list }}
{{- range .formerKeys }}{{ $former = append $former (printf "/etc/cluster-connect/audit-seal/%s" .) }}{{ end }}
{{- $_ := set $config "audit" (dict "seal" (dict
  "keyFile" (printf "/etc/cluster-connect/audit-seal/%s" .key)
  "formerKeyFiles" $former
  "intervalMinutes" .intervalMinutes)) }}
{{- end }}
{{- end }}
{{- if .Values.login }}{{ $_ := set $config "login" .Values.login }}{{ end }}
{{- if .Values.grantsConfigMap }}{{ $_ := set $config "grantsDir" "/etc/cluster-connect/grants" }}{{ end }}
{{- if include "relay.several" . }}
{{- $_ := set $config "peers" (dict
  "listen" (dict "host" .Values.listenHost "port" .Values.peers.port)
  "certFile" "/etc/cluster-connect/peers/tls.crt"
  "keyFile" "/etc/cluster-connect/peers/tls.key"
  "caFile" "/etc/cluster-connect/peers/ca.crt") }}
{{- end }}
{{- toYaml (mergeOverwrite $config .Values.config) -}}
{{- end -}}
