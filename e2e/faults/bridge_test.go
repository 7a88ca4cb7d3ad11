// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// onBridge gives ip the commands.
func onBridge(commands ...string) func(*testing.T, *victim) {
	return func(t *testing.T, v *victim) {
		t.Helper()
		batch(t, v.node.NS(), "", commands...)
	}
}

// onPorts gives ip the command for each port of the bridge.
func onPorts(command string) func(*testing.T, *victim) {
	return func(t *testing.T, v *victim) {
		t.Helper()
		var commands []string
		for line := range strings.Lines(run(t, v.node.NS(), "ip -o link show master cni0")) {
			port, _, _ := strings.Cut(strings.Fields(line)[1], "@")
			commands = append(commands, fmt.Sprintf(command, port))
		}
		if len(commands) == 0 {
			t.Fatal("cni0 has no ports; want one for each pod")
		}
		batch(t, v.node.NS(), "", commands...)
	}
}

// deleteBridgeUnseen leaves the agent nothing but what it has written down.
func deleteBridgeUnseen(t *testing.T, v *victim) {
	t.Helper()
	restart(t, v, func(ctx context.Context) error {
		err := v.node.Agent(0).Kill(ctx)
		batch(t, v.node.NS(), "", "link delete dev cni0")
		return err
	})
}

// bridgeOwn matches what the kernel gives to a bridge and an agent does not give
// back, or not in the same way: its ear for multicast routers (RFC 4286), and
// its link-local address, which without IPv6 pods serves nothing, and with them
// comes back as "nodad".
func bridgeOwn(v *victim) *regexp.Regexp {
	own := `^fdb: 33:33:00:00:00:6a dev cni0 |^ip -6: cni0 inet6 fe80:`
	if !v.dual() {
		own += `|^ip -6: \w+ fe80:\S+ dev cni0 |^fdb: 33:33:ff:\S+ dev cni0 `
	}
	return regexp.MustCompile(own)
}
