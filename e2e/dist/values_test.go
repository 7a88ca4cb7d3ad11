// SPDX-License-Identifier: Apache-2.0

package dist

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

var update = flag.Bool("update", false, "rewrite docs/values.md")

const valuesPage = "../../docs/values.md"

// A value is one of the chart's, as values.yaml explains it.
type value struct {
	key     string // with dots
	value   any    // its default
	meaning string
}

// documented returns the chart's values in their order: each key with a comment
// that has no commented keys below it.
func documented(t *testing.T) []value {
	t.Helper()
	b, err := os.ReadFile(chartDir + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	return collect(t, "", doc.Content[0])
}

func collect(t *testing.T, prefix string, n *yaml.Node) (all []value) {
	t.Helper()
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, v := n.Content[i], n.Content[i+1]
		if v.Kind == yaml.MappingNode && explains(v) {
			all = append(all, collect(t, prefix+key.Value+".", v)...)
			continue
		}
		comments := strings.Split(strings.TrimSpace(key.HeadComment), "\n\n")
		one := value{key: prefix + key.Value, meaning: strings.ReplaceAll(strings.TrimPrefix(comments[len(comments)-1], "# "), "\n# ", " ")}
		if err := v.Decode(&one.value); err != nil {
			t.Fatal(err)
		}
		if one.meaning == "" {
			t.Errorf("values.yaml does not explain %s", one.key)
		}
		all = append(all, one)
	}
	return all
}

// explains reports whether a key of a mapping has a comment.
func explains(m *yaml.Node) bool {
	for i := 0; i < len(m.Content); i += 2 {
		if m.Content[i].HeadComment != "" {
			return true
		}
	}
	return false
}

// TestValuesPage wants docs/values.md to be what values.yaml says.
func TestValuesPage(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`# Values of the Helm chart

Made from [dist/chart/percale/values.yaml](../dist/chart/percale/values.yaml), which explains each. How to install:
[install.md](install.md). What the flags and the keys of net-conf mean: [configure.md](configure.md).

| Value | Default | Meaning |
|---|---|---|
`)
	for _, v := range documented(t) {
		d, err := json.Marshal(v.value)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", v.key, d, v.meaning)
	}
	if *update {
		if err := os.WriteFile(valuesPage, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(valuesPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Error("docs/values.md is not what values.yaml says: (cd e2e/dist && go test -run TestValuesPage . -update)")
	}
}
