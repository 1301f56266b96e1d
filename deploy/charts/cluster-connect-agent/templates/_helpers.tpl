{{/* With `--reuse-values` helm takes the former chart's values.yaml, which lacks what is new: said here, and by no broken object. */}}
{{- define "agent.complete" -}}
{{- $missing := list -}}
{{- range list "agent" "authProxy" "authentication" "enrollment" "global" "health" "image" "networkPolicy" "podDisruptionBudget" "rbac" "relay" "rotation" "serviceAccount" "serviceMonitor" "test" "tracing" -}}
{{- if not (kindIs "map" (get $.Values .)) }}{{ $missing = append $missing . }}{{ end -}}
{{- end -}}
{{- if $missing }}{{ fail (printf "these values are missing: %s. Upgrade with --reset-then-reuse-values, not with --reuse-values" (join ", " $missing)) }}{{ end -}}
{{- end -}}

{{/* The release's name, below another chart with this chart's own. One that is cut, that no Service may have, or that is an object's
name of another release, such as `a-keeper` beside `a`, gets a hash. */}}
{{- define "agent.name" -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) .Chart.IsRoot -}}
{{- $others := "-(identity|code|proxy|keeper|metrics|rotate|test|enroll-[0-9a-f]{8})$" -}}
{{- if and (regexMatch "^[a-z][-a-z0-9]{0,39}$" $name) (not (regexMatch $others $name)) -}}{{ $name }}
{{- else -}}
{{- $start := regexReplaceAll "^([0-9])" ($name | replace "." "-") "n${1}" | trunc 31 | trimSuffix "-" -}}
{{ printf "%s-%s" $start ($name | sha256sum | trunc 8) }}
{{- end -}}
{{- end -}}

{{/* Of the whole cluster: neither part holds a colon, so no other namespace and name make the same. */}}
{{- define "agent.clusterName" -}}
{{ .Release.Namespace }}:{{ include "agent.name" . }}:impersonator
{{- end -}}

{{- define "agent.registry" -}}
{{- with .Values.global.imageRegistry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- end -}}

{{- define "agent.labels" -}}
app.kubernetes.io/name: cluster-connect-agent
app.kubernetes.io/instance: {{ include "agent.name" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "agent.selector" -}}
app.kubernetes.io/name: cluster-connect-agent
app.kubernetes.io/instance: {{ include "agent.name" . }}
app.kubernetes.io/component: agent
{{- end -}}

{{- define "agent.image" -}}
{{ include "agent.registry" . }}{{ .Values.image.agent }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "agent.authProxyImage" -}}
{{ include "agent.registry" . }}{{ .Values.image.authProxy }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "agent.identitySecret" -}}
{{ include "agent.name" . }}-identity
{{- end -}}

{{- /* The Secret of the one-time code. Each code has its own: a Job with a former code that is tried once more would get the new one
from a Secret of the same name, and use it up. */}}
{{- define "agent.codeSecret" -}}
{{- with .Values.enrollment.code }}{{ printf "%s-code-%s" (include "agent.name" $) (toString . | sha256sum | trunc 8) }}{{ else }}{{ .Values.enrollment.existingSecret }}{{ end -}}
{{- end }}

{{/* OpenShift gives each namespace its own user and group; elsewhere they are named. */}}
{{- define "agent.openshift" -}}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}true{{- end -}}
{{- end -}}

{{- define "agent.podSecurity" -}}
runAsNonRoot: true
seccompProfile: { type: RuntimeDefault }
{{- if not (include "agent.openshift" .) }}
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
{{- end }}
{{- end -}}

{{- define "agent.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{/* Tells one proxy from another and no password from another. */}}
{{- define "agent.proxyChecksum" -}}
{{ print .Values.global.httpsProxy " " .Values.global.httpProxy | sha256sum | trunc 8 }}
{{- end -}}

{{- define "agent.networkEnv" -}}
{{- if .Values.global.httpsProxy }}
- { name: HTTPS_PROXY, valueFrom: { secretKeyRef: { name: {{ include "agent.name" . }}-proxy, key: https } } }
{{- end }}
{{- if .Values.global.httpProxy }}
- { name: HTTP_PROXY, valueFrom: { secretKeyRef: { name: {{ include "agent.name" . }}-proxy, key: http } } }
{{- end }}
{{- if or .Values.global.httpsProxy .Values.global.httpProxy }}
- { name: NO_PROXY, value: {{ list .Values.global.noProxy "localhost,127.0.0.1,::1,$(KUBERNETES_SERVICE_HOST),kubernetes.default.svc" | compact | join "," | quote }} }
- { name: NODE_USE_ENV_PROXY, value: "1" }
{{- end }}
{{- if .Values.global.proxyCert }}
- { name: NODE_EXTRA_CA_CERTS, value: /etc/cluster-connect/proxy-ca.crt }
{{- end }}
{{- end -}}

{{/* The ServiceAccount's token where Kubernetes' own libraries look for it, in the containers that mount it and in no other. */}}
{{- define "agent.tokenVolume" -}}
projected:
  defaultMode: 288
  sources:
    - serviceAccountToken: { path: token, expirationSeconds: {{ .seconds }} }
    - configMap: { name: kube-root-ca.crt, items: [{ key: ca.crt, path: ca.crt }] }
    - downwardAPI: { items: [{ path: namespace, fieldRef: { fieldPath: metadata.namespace } }] }
{{- end -}}

{{- define "agent.rbacMode" -}}
{{- if ne .Values.rbac.mode "auto" -}}{{ .Values.rbac.mode }}
{{- else if semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version -}}constrained
{{- else -}}legacy
{{- end -}}
{{- end -}}

{{- define "agent.relayUrls" -}}
{{- concat (list .Values.relay.url | compact) .Values.relay.urls | uniq | toJson -}}
{{- end -}}

{{/* What the containers of both Jobs do, in this order; only the first and the last see Kubernetes, and both keys. The two between see
one key each: `authority` that of the authority, and `identify` that of the agent, with the certificates that `authority` publishes. */}}
{{- define "agent.jobPod" -}}
{{- $root := .root -}}
serviceAccountName: {{ include "agent.name" $root }}-keeper
automountServiceAccountToken: false
restartPolicy: Never
securityContext: {{- include "agent.podSecurity" $root | nindent 2 }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.hostAliases }}
hostAliases: {{- toYaml . | nindent 2 }}
{{- end }}
initContainers:
  - name: read
    image: {{ include "agent.image" $root }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args: [secret, read, --secret, {{ include "agent.identitySecret" $root }}, --dir, /scratch/agent/state, --authority-dir, /scratch/authority/state]
    securityContext: {{- include "agent.containerSecurity" $root | nindent 6 }}
    resources: { requests: { cpu: 10m, memory: 64Mi }, limits: { memory: 256Mi } }
    volumeMounts:
      - { name: agent-work, mountPath: /scratch/agent }
      - { name: authority-work, mountPath: /scratch/authority }
      - { name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true }
  - name: authority
    image: {{ include "agent.authProxyImage" $root }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args: [authority, --config, /etc/cluster-connect/auth-proxy.yaml]
    env:
      - { name: CC_STATE_DIR, value: /scratch/authority/state }
      - { name: CC_PUBLISH_CA_PATH, value: /scratch/published/ca.crt }
    securityContext: {{- include "agent.containerSecurity" $root | nindent 6 }}
    resources: { requests: { cpu: 10m, memory: 64Mi }, limits: { memory: 256Mi } }
    volumeMounts:
      - { name: authority-work, mountPath: /scratch/authority }
      - { name: published, mountPath: /scratch/published }
      - { name: config, mountPath: /etc/cluster-connect, readOnly: true }
  - name: {{ .identify }}
    image: {{ include "agent.image" $root }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args: [{{ .identify }}, --config, /etc/cluster-connect/agent.yaml]
    env:
      - { name: CC_STATE_DIR, value: /scratch/agent/state }
      - { name: CC_AUTH_PROXY_AUTHORITIES_FILE, value: /scratch/published/ca.crt }
      - { name: CC_CLUSTER_ID, value: {{ $root.Values.global.resourceName | quote }} }
      {{- if .code }}
      - { name: CC_CODE_FILE, value: /etc/cluster-connect-code/code }
      {{- end }}
      {{- include "agent.networkEnv" $root | nindent 6 }}
    securityContext: {{- include "agent.containerSecurity" $root | nindent 6 }}
    resources: { requests: { cpu: 10m, memory: 64Mi }, limits: { memory: 256Mi } }
    volumeMounts:
      - { name: agent-work, mountPath: /scratch/agent }
      - { name: published, mountPath: /scratch/published, readOnly: true }
      - { name: config, mountPath: /etc/cluster-connect, readOnly: true }
      {{- if .code }}
      - { name: code, mountPath: /etc/cluster-connect-code, readOnly: true }
      {{- end }}
containers:
  - name: write
    image: {{ include "agent.image" $root }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args: [secret, write, --secret, {{ include "agent.identitySecret" $root }}, --dir, /scratch/agent/state, --authority-dir, /scratch/authority/state]
    securityContext: {{- include "agent.containerSecurity" $root | nindent 6 }}
    resources: { requests: { cpu: 10m, memory: 64Mi }, limits: { memory: 256Mi } }
    volumeMounts:
      - { name: agent-work, mountPath: /scratch/agent, readOnly: true }
      - { name: authority-work, mountPath: /scratch/authority, readOnly: true }
      - { name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true }
volumes:
  - name: agent-work
    emptyDir: { medium: Memory, sizeLimit: 1Mi }
  - name: authority-work
    emptyDir: { medium: Memory, sizeLimit: 1Mi }
  - name: published
    emptyDir: { medium: Memory, sizeLimit: 1Mi }
  - name: config
    configMap: { name: {{ include "agent.name" $root }} }
  - name: token
    {{- include "agent.tokenVolume" (dict "seconds" 600) | nindent 4 }}
  {{- if .code }}
  - name: code
    secret: { secretName: {{ .code }}, defaultMode: 288 }
  {{- end }}
{{- end -}}
