// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/netns"
)

// flood is how many entries of junk there are in a table.
const flood = 2000

// junkMAC returns one of many addresses that nobody has.
func junkMAC(i int) string { return fmt.Sprintf("02:ba:d0:00:%02x:%02x", i>>8, i&255) }

// junk matches junk in tables that are not the agent's.
func junk(*victim) *regexp.Regexp { return regexp.MustCompile(`02:ba:d0:`) }

// floodOverlays fills FDB and neighbors of the overlay devices.
func floodOverlays(t *testing.T, v *victim) {
	t.Helper()
	for i, device := range v.overlays {
		var fdb, neigh []string
		for k := range flood {
			dst := []string{"192.0.2.1", "2001:db8::1"}[i]
			ip := []netip.Addr{
				netip.AddrFrom4([4]byte{198, 18, byte(k >> 8), byte(k)}),
				netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(k >> 8), 15: byte(k)}),
			}[i]
			fdb = append(fdb, fmt.Sprintf("fdb add %s dev %s dst %s", junkMAC(k), device, dst))
			neigh = append(neigh, fmt.Sprintf("neigh add %s lladdr %s dev %s nud permanent", ip, junkMAC(k), device))
		}
		batch(t, v.node.NS(), "", neigh...)
		bridgeBatch(t, v.node.NS(), fdb)
	}
}

// floodBridge fills the FDB of the pods' bridge, which is not the agent's.
func floodBridge(t *testing.T, v *victim) {
	t.Helper()
	changeBridge(t, v, "add")
}

func dryBridge(t *testing.T, v *victim) {
	t.Helper()
	changeBridge(t, v, "del")
}

func changeBridge(t *testing.T, v *victim, change string) {
	t.Helper()
	port := strings.Fields(run(t, v.node.NS(), "bridge -o link show"))[1]
	port, _, _ = strings.Cut(port, "@")
	var commands []string
	for k := range flood {
		commands = append(commands, fmt.Sprintf("fdb %s %s dev %s master static", change, junkMAC(k), port))
	}
	bridgeBatch(t, v.node.NS(), commands)
}

// bridgeBatch is batch for the tool bridge.
func bridgeBatch(t *testing.T, ns netns.NS, commands []string) {
	t.Helper()
	cmd := exec.Command("bridge", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	output(t, ns, cmd)
}
