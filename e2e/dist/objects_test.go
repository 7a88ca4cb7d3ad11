// SPDX-License-Identifier: Apache-2.0

package dist

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Objects are those of a manifest, by kind and name.
type objects map[string]any

// add adds the objects of YAML documents with "---" between.
func (all objects) add(b []byte) error {
	for _, doc := range strings.Split("\n"+string(b), "\n---\n") {
		var o map[string]any
		if err := yaml.UnmarshalStrict([]byte(doc+"\n"), &o); err != nil {
			return fmt.Errorf("%w:\n%s", err, doc)
		}
		if len(o) == 0 {
			continue
		}
		id := fmt.Sprint(o["kind"], " ", at(o, "metadata", "name"))
		if _, twice := all[id]; twice {
			return fmt.Errorf("%s is there twice", id)
		}
		all[id] = o
	}
	return nil
}

// unfold replaces the JSON texts of ConfigMaps by what they say.
func (all objects) unfold(t *testing.T) {
	t.Helper()
	for id, o := range all {
		if !strings.HasPrefix(id, "ConfigMap ") {
			continue
		}
		files := at(o, "data").(map[string]any)
		for name, text := range files {
			var v any
			if err := json.Unmarshal([]byte(text.(string)), &v); err != nil {
				t.Errorf("%s, %s: %v", id, name, err)
			}
			files[name] = v
		}
	}
}

// manifest returns the objects of dist/percale.yaml.
func manifest(t *testing.T) objects {
	t.Helper()
	b, err := os.ReadFile("../../dist/percale.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := make(objects)
	if err := all.add(b); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "\n"); n > 150 || len(all) != 12 {
		t.Errorf("the manifest has %d objects in %d lines; want 12 in at most 150", len(all), n)
	}
	return all
}

// at returns what stands at a path of keys and indices; nil for nothing.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			v = v.([]any)[p]
		}
	}
	return v
}

func text(v any) string {
	b, err := json.MarshalIndent(v, "", " ")
	return string(append(b, fmt.Sprintln(err)...))
}
