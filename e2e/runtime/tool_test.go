// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/netns"
)

// The CNI project's own tool, as people try a configuration by hand: each verb
// in each version that has it.
func TestTool(t *testing.T) {
	for _, version := range []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) {
			onNode(t, func(n node) {
				n.write(t, n.subnetFile, dualStack)
				n.list(t, version)
				pod := netns.Temp(t)
				tool := func(verb string) (string, error) {
					cmd := exec.Command(os.Args[0], verb, n.network, pod.Path())
					cmd.Args[0] = toolName
					cmd.Env = append(os.Environ(), "CNI_PATH="+n.bin(), "NETCONFPATH="+n.confDir(), `CAP_ARGS={"ips":["10.42.7.77/24"]}`,
						"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=web")
					out, err := cmd.CombinedOutput()
					if err != nil {
						err = fmt.Errorf("%s: %w: %s", verb, err, out)
					}
					return string(out), err
				}
				out, err := tool("add")
				if err != nil {
					t.Fatal(err)
				}
				var r struct {
					CNIVersion string
					IPs        []struct{ Address string }
				}
				if err := json.Unmarshal([]byte(out), &r); err != nil || r.CNIVersion != version || len(r.IPs) != 2 || r.IPs[0].Address != "10.42.7.77/24" {
					t.Errorf("add printed %s, %v; want a result of version %s with the address asked for", out, err, version)
				}
				if _, err := tool("check"); (err == nil) != (version >= "0.4.0") {
					t.Errorf("check = %v", err)
				}
				if _, err := tool("status"); err != nil { // libcni leaves out what the version does not have
					t.Error(err)
				}
				for range 2 {
					if _, err := tool("del"); err != nil {
						t.Error(err)
					}
				}
				n.wantNothing(t)
				if _, err := tool("add"); err != nil {
					t.Fatal(err)
				}
				for _, file := range n.cached(t) { // else libcni calls DEL for what it knows
					if err := os.Remove(file); err != nil {
						t.Fatal(err)
					}
				}
				// The tool gives no list of what is valid, and without one nothing is deleted.
				_, err = tool("gc")
				if version < "1.1.0" && err != nil || version >= "1.1.0" && (err == nil || !strings.Contains(err.Error(), "cni.dev/valid-attachments")) {
					t.Errorf("gc = %v", err)
				}
				if got := n.reserved(t); len(got) != 2 {
					t.Errorf("reserved after gc = %v; want two", got)
				}
				if _, err := tool("del"); err != nil {
					t.Error(err)
				}
				n.wantNothing(t)
			})
		})
	}
}
