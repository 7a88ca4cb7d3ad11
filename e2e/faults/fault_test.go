// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A fault is one thing that can happen to a node, and what it costs by itself.
type fault struct {
	name   string
	inject func(*testing.T, *victim)

	dualOnly bool // only where there is IPv6
	extra    int  // packets that are lost whatever an agent does
	restarts bool // the agent's process is another one afterwards
	renamed  bool // the overlay devices may bear other names afterwards
	cuts     bool // nothing gets through while the fault is made, whatever an agent does
	follows  bool // look that the node still follows etcd afterwards

	// foreign matches lines of the state that need not be as before. nil: none.
	foreign func(*victim) *regexp.Regexp

	// also reports as an error what more is to be so afterwards. nil: nothing.
	also func(*testing.T, *victim) error

	// undo takes back what is not an agent's to mend, and from a fault that is not
	// healed yet all that a restart of the agent does not mend.
	undo func(*testing.T, *victim)
}

// notYet names the faults that the agent does not heal, in all modes or in one,
// and why. They are run all the same: one that is healed must leave the list.
var notYet = map[string]string{}

// faults lists all of them. Those that leave the least behind come first.
var faults = []fault{
	{name: "agent killed, started", restarts: true, inject: killAgent},
	{name: "agent ended, started", restarts: true, inject: endAgent},
	{name: "overlay routes flushed", inject: deleteEach("route", "proto 112")},
	{name: "neighbors flushed", inject: deleteEach("neigh", "nud permanent")},
	{name: "FDB emptied", inject: emptyFDB},
	{name: "device down and up", inject: onOverlays("ip link set dev %s down", "ip link set dev %s up")},
	{name: "device deleted", inject: onOverlays("ip link delete dev %s")},
	{name: "device address flushed, MTU 900", inject: onOverlays(
		"ip address flush dev %s", "ip link set dev %s mtu 900")},
	{name: "rules flushed, FORWARD DROP", inject: dropForwarded, foreign: forwardRules, undo: acceptForwarded},
	{name: "FORWARD rejects first", inject: rejectForwarded, foreign: rejectingRules, undo: unrejectForwarded},
	{name: "ip_forward off", inject: setSysctl("net/ipv4/ip_forward", "0")},
	{name: "IPv6 forwarding off", dualOnly: true, inject: setSysctl("net/ipv6/conf/all/forwarding", "0")},
	{name: "uplink down 1 s", inject: downUplink, extra: 100},
	{name: "uplink unplugged 1 s", inject: unplugUplink, extra: 100},
	{name: "cni0 down and flushed", inject: onBridge("link set dev cni0 down", "address flush dev cni0"), foreign: bridgeOwn},
	{name: "cni0 deleted", inject: onBridge("link delete dev cni0"), foreign: bridgeOwn},
	{name: "cni0 deleted while no agent runs", inject: deleteBridgeUnseen, foreign: bridgeOwn, restarts: true, extra: 100},
	{name: "cni0 MTU 1300", inject: onBridge("link set dev cni0 mtu 1300")},
	{name: "cni0 MTU 900", inject: onBridge("link set dev cni0 mtu 900"), foreign: bridgeOwn},
	{name: "port off cni0", inject: onPorts("link set dev %s nomaster")},
	{name: "port down", inject: onPorts("link set dev %s down")},
}

func killAgent(t *testing.T, v *victim) { restart(t, v, v.node.Agent(0).Kill) }
func endAgent(t *testing.T, v *victim)  { restart(t, v, v.node.Agent(0).Stop) }

// onOverlays runs the commands on each overlay device.
func onOverlays(commands ...string) func(*testing.T, *victim) {
	return func(t *testing.T, v *victim) {
		t.Helper()
		for _, device := range v.overlays {
			for _, c := range commands {
				run(t, v.node.NS(), fmt.Sprintf(c, device))
			}
		}
	}
}

// deleteEach deletes, one by one, what ip shows of a kind on the overlay
// devices. "ip route flush" and "ip neigh flush" would go on until they find
// none, and so until they are tired of what the agent mends meanwhile.
func deleteEach(kind, selector string) func(*testing.T, *victim) {
	return func(t *testing.T, v *victim) {
		t.Helper()
		deleted := 0
		for _, family := range []string{"-4", "-6"} {
			var commands []string
			for _, device := range v.overlays {
				show := fmt.Sprintf("ip %s %s show dev %s %s", family, kind, device, selector)
				for line := range strings.Lines(run(t, v.node.NS(), show)) {
					commands = append(commands, fmt.Sprintf("%s del %s dev %s", kind, strings.Fields(line)[0], device))
				}
			}
			batch(t, v.node.NS(), family, commands...)
			deleted += len(commands)
		}
		if deleted != len(v.overlays) {
			t.Fatalf("there were %d of %s, %s; want one on each of %v", deleted, kind, selector, v.overlays)
		}
	}
}

func emptyFDB(t *testing.T, v *victim) {
	t.Helper()
	for _, device := range v.overlays {
		entries := run(t, v.node.NS(), "bridge fdb show dev "+device)
		if !strings.Contains(entries, " dst ") {
			t.Fatalf("FDB of %s:\n%swant a peer in it", device, entries)
		}
		for line := range strings.Lines(entries) {
			run(t, v.node.NS(), fmt.Sprintf("bridge fdb del %s dev %s", strings.Fields(line)[0], device))
		}
	}
}

func dropForwarded(t *testing.T, v *victim) {
	t.Helper()
	flushRuleset(t, v.node.NS())
	forwardPolicy(t, v, "DROP")
}

func acceptForwarded(t *testing.T, v *victim) {
	t.Helper()
	forwardPolicy(t, v, "ACCEPT")
}

// forwardRules matches the policy, which is its owner's to change back. In
// nftables mode it also matches what the agent puts into iptables' filter for
// its packets to be let through.
func forwardRules(v *victim) *regexp.Regexp {
	if v.firewall == "iptables" {
		return regexp.MustCompile(`^ip6?tables: filter :FORWARD DROP`)
	}
	return regexp.MustCompile(`^ip6?tables: filter `)
}

func forwardPolicy(t *testing.T, v *victim, policy string) {
	t.Helper()
	for _, tool := range []string{"iptables", "ip6tables"} {
		run(t, v.node.NS(), tool+" -w -P FORWARD "+policy)
	}
}

func setSysctl(path, value string) func(*testing.T, *victim) {
	return func(t *testing.T, v *victim) {
		t.Helper()
		write := func() error { return os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0) }
		if err := v.node.NS().Do(write); err != nil {
			t.Fatal(err)
		}
	}
}

// downUplink takes the uplink down. When it is up again the kernel has lost
// what whoever set it up gave it, and who did that does so again, as a network
// manager does.
func downUplink(t *testing.T, v *victim) {
	t.Helper()
	lost := []string{"link set dev eth0 up"}
	for line := range strings.Lines(run(t, v.node.NS(), "ip -6 -o address show dev eth0 scope global")) {
		lost = append(lost, "address replace "+strings.Fields(line)[3]+" dev eth0 nodad")
	}
	for _, family := range []string{"-4", "-6"} {
		for line := range strings.Lines(run(t, v.node.NS(), "ip "+family+" route show default")) {
			lost = append(lost, "route replace "+strings.TrimSpace(line))
		}
	}
	run(t, v.node.NS(), "ip link set dev eth0 down")
	wait(t, time.Second)
	batch(t, v.node.NS(), "", lost...)
}

// unplugUplink takes the uplink's carrier away, at the switch.
func unplugUplink(t *testing.T, v *victim) {
	t.Helper()
	run(t, v.lab.Switch(), "ip link set dev n1 down")
	wait(t, time.Second)
	run(t, v.lab.Switch(), "ip link set dev n1 up")
}
