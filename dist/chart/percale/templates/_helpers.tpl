{{- define "percale.image" -}}
{{ .Values.image.repository }}{{ with .Values.image.digest }}@{{ . }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* The host that the kubelet asks: one address of the node, or all if percaled listens on all. */ -}}
{{- define "percale.probe" -}}
httpGet:
  {{- if not (has .ip (list "0.0.0.0" "::")) }}
  host: {{ .ip | quote }}
  {{- end }}
  port: {{ .port }}
  path: {{ .path }}
{{- end }}

{{- define "percale.netConf" -}}
{{- $backend := merge (dict "Type" .Values.backend.type) .Values.backend.options -}}
{{- $conf := dict "Backend" $backend -}}
{{- with .Values.podCidr }}{{ $_ := set $conf "Network" . }}{{ else }}{{ $_ := set $conf "EnableIPv4" false }}{{ end -}}
{{- with .Values.podCidrV6 }}{{ $_ := set $conf "EnableIPv6" true }}{{ $_ := set $conf "IPv6Network" . }}{{ end -}}
{{- mergeOverwrite $conf .Values.netConf | toPrettyJson -}}
{{- end }}

{{- /* The prefix as annotations begin with it: see --kube-annotation-prefix. */ -}}
{{- define "percale.annotations" -}}
{{- $p := .Values.annotationPrefix -}}
{{- if hasSuffix "/" $p }}{{ $p }}{{ else if not (contains "/" $p) }}{{ $p }}/{{ else if hasSuffix "-" $p }}{{ $p }}{{ else }}{{ $p }}-{{ end -}}
{{- end }}

{{- define "percale.labels" -}}
{{- with .Values.commonLabels }}
labels: {{ toJson . }}
{{- end }}
{{- end }}
