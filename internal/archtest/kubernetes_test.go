// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"os"
	"regexp"
	"testing"
)

// required matches what a go.mod requires of a module, or puts in its place.
var required = regexp.MustCompile(`(?m)^\t(k8s\.io/[a-z0-9-]+)(?: => k8s\.io/[a-z0-9-]+)? v\d+\.(\d+\.\d+)`)

// TestKubernetesIsOne wants the servers that tests run to be of the version that
// our client libraries are of, in each of their parts.
func TestKubernetesIsOne(t *testing.T) {
	t.Parallel()
	version := map[string]string{}
	for _, file := range []string{"../../go.mod", "../../e2e/kubeapi/go.mod"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range required.FindAllStringSubmatch(string(text), -1) {
			if m[2] != "0.0" { // a commit, of no release; or what another line replaces
				version[file+" "+m[1]] = m[2]
			}
		}
	}
	want := version["../../go.mod k8s.io/client-go"]
	for at, v := range version {
		if v != want {
			t.Errorf("%s is of Kubernetes 1.%s; want %s, as client-go in go.mod", at, v, want)
		}
	}
	if len(version) < 25 {
		t.Errorf("%d parts of Kubernetes are named; want 25 or more: %v", len(version), version)
	}
}
