// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestObjects(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		manifest string
		want     []string // kind and name
		fails    string
	}{
		{"", nil, ""},
		{"# a comment\n---\n---\nkind: A\nmetadata: {name: a}\n---\nkind: B\nmetadata: {name: b}\n", []string{"A a", "B b"}, ""},
		{"kind: A\nkind: B\n", nil, "read document 1"},
		{"kind: A\n---\n[1, 2]\n", nil, "read document 2"},
	} {
		objects, err := Objects([]byte(tt.manifest))
		var got []string
		for _, o := range objects {
			got = append(got, o.GetKind()+" "+o.GetName())
		}
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("Objects(%q) = %v, %v; want %v, %q", tt.manifest, got, err, tt.want, tt.fails)
		}
	}
}

func TestReadAudit(t *testing.T) {
	t.Parallel()
	const begun = `{"auditID":"1","verb":"watch","requestURI":"/api/v1/nodes?watch=true","user":{"username":"u",` +
		`"extra":{"authentication.kubernetes.io/node-name":["n1"]}},"objectRef":{"resource":"nodes","apiVersion":"v1"},"responseStatus":{"code":200}}` + "\n"
	const status = `{"auditID":"2","verb":"patch","requestURI":"/api/v1/nodes/n1/status","user":{"username":"u"},` +
		`"objectRef":{"resource":"nodes","subresource":"status","name":"n1"},"responseStatus":{"code":403}}` + "\n"
	watch := Request{User: "u", Node: "n1", Verb: "watch", Resource: "nodes", Path: "/api/v1/nodes", Query: "watch=true", Code: 200, ID: "1"}
	patch := Request{User: "u", Verb: "patch", Resource: "nodes/status", Name: "n1", Path: "/api/v1/nodes/n1/status", Code: 403, ID: "2"}
	for _, tt := range []struct {
		name, log string
		want      []Request
		ok        bool
	}{
		{"nothing", "", nil, true},
		{"a watch that has ended", begun + status + begun, []Request{watch, patch}, true},
		{"half a line", status + begun[:30], []Request{patch}, true},
		{"not JSON", "half\n", nil, false},
	} {
		got, err := readAudit(strings.NewReader(tt.log))
		if !reflect.DeepEqual(got, tt.want) || (err == nil) != tt.ok {
			t.Errorf("%s: %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
}

// TestWriteTwice wants the second time to change nothing: tokens signed before
// stay good.
func TestWriteTwice(t *testing.T) {
	t.Parallel()
	p := Plane{Dir: t.TempDir() + "/made", Listen: netip.MustParseAddrPort("[fd00::1]:6443")}
	read := func() map[string]string {
		if err := p.Write(); err != nil {
			t.Fatal(err)
		}
		es, err := os.ReadDir(p.Dir)
		if err != nil {
			t.Fatal(err)
		}
		files := make(map[string]string)
		for _, e := range es {
			b, err := os.ReadFile(p.path(e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			files[e.Name()] = string(b)
		}
		return files
	}
	first := read()
	if second := read(); !reflect.DeepEqual(first, second) || len(first) < 6 {
		t.Errorf("%d files, then other ones; want 6 or more that stay", len(first))
	}
}
