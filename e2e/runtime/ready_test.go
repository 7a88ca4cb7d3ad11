// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Until percaled has written subnet.env no pod can start, and afterwards none
// when the subnet is full. Whoever looks at the pod, or at the node, sees why.
func TestContainerdSaysWhy(t *testing.T) {
	onNode(t, func(n node) {
		c := newContainerd(t, n)
		if got := c.networkReady(t); got.Status {
			t.Errorf("NetworkReady without configuration = %v", got)
		}
		n.list(t, "1.0.0 1.1.0")
		asks := c.asksStatus(t)
		refuses := func(name, why string) {
			t.Helper()
			if asks {
				c.waitReady(t, false, why)
			}
			before := n.reserved(t)
			eventually(t, name+" is refused", func() error { // the configuration may not have been read yet
				s, err := c.runSandbox(t, c.podConfig(name))
				if err == nil {
					t.Fatalf("sandbox %s runs; want an error", s.id)
				}
				if !strings.Contains(err.Error(), why) {
					return err
				}
				return nil
			})
			if got := n.reserved(t); !slices.Equal(got, before) {
				t.Errorf("reserved after a pod was refused = %v; want %v", got, before)
			}
		}
		refuses("early", "percaled has not written "+n.subnetFile+" yet")
		n.write(t, n.subnetFile, strings.Replace(dualStack, "10.42.7.1/24", "10.42.7.1/30", 1))
		c.waitReady(t, true, "")
		s, _ := c.runPod(t, "only")
		refuses("late", "subnet 10.42.7.0/30 is full: 1 of 1 used")
		c.stopPod(t, s)
		c.waitReady(t, true, "")
		c.removePod(t, s)
		c.removeAll(t)
		n.wantNothing(t)
	})
}

// asksStatus tells whether this release of containerd calls the verb STATUS, as
// those from 2.1 on do.
func (c *containerd) asksStatus(t *testing.T) bool {
	t.Helper()
	v, err := c.Version(t.Context(), &cri.VersionRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(strings.TrimPrefix(v.RuntimeVersion, "v"), "%d.%d", &major, &minor); err != nil {
		t.Fatalf("version of containerd = %q: %v", v.RuntimeVersion, err)
	}
	return major > 2 || major == 2 && minor >= 1
}

// waitReady waits until the node's network is reported so.
func (c *containerd) waitReady(t *testing.T, ready bool, why string) {
	t.Helper()
	eventually(t, fmt.Sprintf("NetworkReady=%t", ready), func() error {
		if got := c.networkReady(t); got.Status != ready || !strings.Contains(got.Message, why) {
			return fmt.Errorf("it is %v", got)
		}
		return nil
	})
}
