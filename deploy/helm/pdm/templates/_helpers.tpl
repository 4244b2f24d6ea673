{{/* Names, labels, and what every pod of pdm has. */}}

{{- define "pdm.name" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "pdm.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "pdm.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "pdm.secret" -}}
{{- default (include "pdm.name" .) .Values.secrets.existing -}}
{{- end -}}

{{- define "pdm.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}

{{- define "pdm.port" -}}
{{- get (dict "portal" 8000 "simulator" 8001 "ingestor" 8002 "inference" 8003) . -}}
{{- end -}}

{{/* Addresses: the same for every pod, none of them secret. */}}
{{- define "pdm.addresses" -}}
{{- $name := include "pdm.name" . -}}
- {name: PDM_KAFKA__BOOTSTRAP_SERVERS, value: {{ .Values.engines.kafka.bootstrapServers | quote }}}
- {name: PDM_KAFKA__REPLICATION_FACTOR, value: {{ .Values.engines.kafka.replicationFactor | quote }}}
- {name: PDM_KAFKA__RAW_PARTITIONS, value: {{ .Values.engines.kafka.rawPartitions | quote }}}
- {name: PDM_KAFKA__ALERT_PARTITIONS, value: {{ .Values.engines.kafka.alertPartitions | quote }}}
- {name: PDM_MAIN_DB__URL, value: {{ .Values.engines.mainDb.url | quote }}}
- {name: PDM_AI_DB__URL, value: {{ .Values.engines.aiDb.url | quote }}}
- {name: PDM_REDIS__URL, value: {{ .Values.engines.redis.url | quote }}}
- {name: PDM_CONNECT__URL, value: {{ .Values.engines.connect.url | quote }}}
- {name: PDM_HTTP__HOST, value: "0.0.0.0"}
- {name: PDM_PORTAL__LOCALE, value: {{ .Values.locale | quote }}}
{{- range $role := list "simulator" "ingestor" "inference" "portal" }}
- {name: PDM_{{ upper $role }}__URL, value: "http://{{ $name }}-{{ $role }}:{{ include "pdm.port" $role }}"}
{{- end }}
{{- range $key, $value := .Values.extraEnv }}
- {name: {{ $key }}, value: {{ $value | quote }}}
{{- end }}
{{- end -}}

{{/* Secrets by variable: (dict "root" . "secrets" (dict VARIABLE key …)). A pod names only its own. */}}
{{- define "pdm.secrets" -}}
{{- range $variable, $key := .secrets }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ include "pdm.secret" $.root }}
      key: {{ $key }}
      {{- if eq $key "redisPassword" }}
      optional: true  # an engine without one is possible
      {{- end }}
{{- end }}
{{- end -}}

{{- define "pdm.pod" -}}
serviceAccountName: {{ include "pdm.name" . }}
automountServiceAccountToken: false
# Kubernetes would name our own services by PDM_… variables, which are for settings.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "pdm.container" -}}
image: {{ include "pdm.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: data, mountPath: /var/lib/pdm}
{{- end -}}

{{- define "pdm.volumes" -}}
volumes:
  - {name: tmp, emptyDir: {}}
  # A copy of a model's file; the model itself is in the ai database, where every replica finds it.
  - {name: data, emptyDir: {}}
{{- end -}}
