// SPDX-License-Identifier: Apache-2.0

package dist

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const chartDir = "../../dist/chart/percale"

// render returns the chart's objects with some values changed, as "helm
// template" does it.
func render(values map[string]any) (objects, error) {
	chart, err := loader.LoadDir(chartDir)
	if err != nil {
		return nil, err
	}
	release := common.ReleaseOptions{Name: "percale", Namespace: "default", Revision: 1, IsInstall: true}
	top, err := util.ToRenderValues(chart, values, release, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, top)
	if err != nil {
		return nil, err
	}
	all := make(objects)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".yaml") {
			if err := all.add([]byte(files[name])); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

func mustRender(t *testing.T, values map[string]any) objects {
	t.Helper()
	all, err := render(values)
	if err != nil {
		t.Fatalf("%v: %v", values, err)
	}
	return all
}

func TestChartIsTheManifest(t *testing.T) {
	t.Parallel()
	want, got := manifest(t), mustRender(t, nil)
	want.unfold(t)
	got.unfold(t)
	same(t, got, want)
}

func same(t *testing.T, got, want objects) {
	t.Helper()
	for id := range want {
		if !reflect.DeepEqual(got[id], want[id]) {
			t.Errorf("%s is\n%s\nin the manifest\n%s", id, text(got[id]), text(want[id]))
		}
	}
	if len(got) != len(want) {
		t.Errorf("there are %v; want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

func TestKustomizeBaseIsTheManifest(t *testing.T) {
	t.Parallel()
	result, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "../../dist")
	if err != nil {
		t.Fatal(err)
	}
	b, err := result.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	got := make(objects)
	if err := got.add(b); err != nil {
		t.Fatal(err)
	}
	same(t, got, manifest(t))
}

func TestChartIsClean(t *testing.T) {
	t.Parallel()
	for _, m := range lint.RunAll(chartDir, nil, "default").Messages {
		if !strings.Contains(m.Error(), "icon is recommended") {
			t.Error(m)
		}
	}
}

// needed are values without which others have no effect.
var needed = map[string]map[string]any{
	"serviceMonitor": {"serviceMonitor": map[string]any{"enabled": true}, "healthz": map[string]any{"ip": "0.0.0.0"}},
}

// other are values to try in place of the defaults, where any value will not do.
var other = map[string]any{
	"podCidr":                       "10.42.0.0/16",
	"podCidrV6":                     "fd00:42::/48",
	"backend.type":                  "host-gw",
	"backend.options":               map[string]any{"VNI": 7},
	"image.digest":                  "sha256:" + strings.Repeat("0123456789abcdef", 4),
	"image.pullPolicy":              "Always",
	"image.pullSecrets":             []any{"registry"},
	"annotationPrefix":              "example.com/x",
	"args":                          []any{"--v=1"},
	"cni.binDir":                    "/usr/libexec/cni",
	"cni.confDir":                   "",
	"updateStrategy":                map[string]any{"type": "OnDelete", "rollingUpdate": nil},
	"tolerations":                   []any{},
	"probes.startup":                map[string]any{"periodSeconds": 7},
	"probes.liveness":               map[string]any{"periodSeconds": 7},
	"probes.readiness":              map[string]any{"periodSeconds": 7},
	"healthz.ip":                    "0.0.0.0",
	"serviceMonitor.interval":       "10s",
	"terminationGracePeriodSeconds": 30,
}

func TestEveryValueHasAnEffect(t *testing.T) {
	t.Parallel()
	for _, v := range documented(t) {
		group, _, _ := strings.Cut(v.key, ".")
		before := mustRender(t, needed[group])
		if v.key == "serviceMonitor.enabled" {
			before = mustRender(t, nil)
		}
		given := map[string]any{}
		for top, m := range needed[group] {
			given[top] = maps.Clone(m.(map[string]any))
		}
		set(given, strings.Split(v.key, "."), changed(t, v))
		after, err := render(given)
		if err != nil {
			t.Errorf("%s: %v", v.key, err)
		} else if reflect.DeepEqual(before, after) {
			t.Errorf("%s = %v changes nothing", v.key, changed(t, v))
		}
	}
	for key := range other {
		if !slices.ContainsFunc(documented(t), func(v value) bool { return v.key == key }) {
			t.Errorf("there is no value %s any more", key)
		}
	}
}

// changed returns what a value may be beside its default.
func changed(t *testing.T, v value) any {
	t.Helper()
	if o, ok := other[v.key]; ok {
		return o
	}
	switch d := v.value.(type) {
	case bool:
		return !d
	case string:
		return d + "x"
	case int, int64, float64:
		return 9
	case map[string]any:
		return map[string]any{"example": "x"}
	case []any:
		return []any{map[string]any{"name": "x"}}
	}
	t.Fatalf("%s: nothing to change %T into", v.key, v.value)
	return nil
}

func set(m map[string]any, path []string, v any) {
	for _, key := range path[:len(path)-1] {
		if _, ok := m[key]; !ok {
			m[key] = map[string]any{}
		}
		m = m[key].(map[string]any)
	}
	m[path[len(path)-1]] = v
}

func TestSchemaSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		`{"podcidr": "10.42.0.0/16"}`:               "'podcidr' not allowed",
		`{"podCidr": "10.42.0.0"}`:                  "/podCidr",
		`{"podCidrV6": "10.42.0.0/16"}`:             "/podCidrV6",
		`{"backend": {"type": "udp"}}`:              "/backend/type",
		`{"backend": {"options": {"VNI": "1"}}}`:    "/backend/options/VNI",
		`{"image": {"pullPolicy": "Sometimes"}}`:    "/image/pullPolicy",
		`{"image": {"digest": "latest"}}`:           "/image/digest",
		`{"args": ["-v"]}`:                          "/args/0",
		`{"cni": {"binDir": "opt"}}`:                "/cni/binDir",
		`{"cni": {"binDir": "/usr/local/bin"}}`:     "/cni/binDir",
		`{"cni": {"conflist": {"plugins": []}}}`:    "/cni/conflist/plugins",
		`{"healthz": {"port": 70000}}`:              "/healthz/port",
		`{"probes": {"liveness": {"httpGet": {}}}}`: "'httpGet' not allowed",
		`{"updateStrategy": {"type": "Recreate"}}`:  "/updateStrategy/type",
		`{"tolerations": [1]}`:                      "/tolerations/0",
		`{"podAnnotations": {"a": 1}}`:              "/podAnnotations/a",
		`{"serviceMonitor": {"enabled": true}}`:     "loopback address: set it to 0.0.0.0",
		`{"annotationPrefix": "two/slashes/there"}`: "/annotationPrefix",
		`{"serviceMonitor": {"interval": "often"}}`: "/serviceMonitor/interval",
		`{"terminationGracePeriodSeconds": 0}`:      "/terminationGracePeriodSeconds",
		`{"netConf": ["SubnetLen"]}`:                "/netConf",
		`{"admissionPolicy": "yes"}`:                "/admissionPolicy",
		`{"extraEnv": {"A": "b"}}`:                  "/extraEnv",
		`{"priorityClassName": ""}`:                 "/priorityClassName",
		`{"namespace": ""}`:                         "/namespace",
		`{"nodeSelector": {"a": true}}`:             "/nodeSelector/a",
		`{"commonLabels": []}`:                      "/commonLabels",
	} {
		var values map[string]any
		if err := json.Unmarshal([]byte(given), &values); err != nil {
			t.Fatal(given, err)
		}
		if _, err := render(values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", given, err, want)
		}
	}
}

// TestNetConfValues wants net-conf to say what the values say.
func TestNetConfValues(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		`{"podCidrV6": "fd00::/56"}`:                `{"Network": "10.244.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00::/56", "Backend": {"Type": "vxlan"}}`,
		`{"podCidr": "", "podCidrV6": "fd00::/56"}`: `{"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "fd00::/56", "Backend": {"Type": "vxlan"}}`,
		`{"backend": {"options": {"VNI": 7, "DirectRouting": true}}, "netConf": {"SubnetLen": 25, "Backend": {"VNI": 8}}}`: `{"Network": "10.244.0.0/16", "SubnetLen": 25, "Backend": {"Type": "vxlan", "VNI": 8, "DirectRouting": true}}`,
	} {
		var values, conf map[string]any
		if err := json.Unmarshal([]byte(given), &values); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(want), &conf); err != nil {
			t.Fatal(err)
		}
		all := mustRender(t, values)
		all.unfold(t)
		if got := at(all["ConfigMap percale-conf"], "data", "net-conf.json"); !reflect.DeepEqual(got, conf) {
			t.Errorf("%s: net-conf is %s; want %s", given, text(got), want)
		}
	}
}
