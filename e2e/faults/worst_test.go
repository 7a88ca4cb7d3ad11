// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
)

// worstNotYet is notYet for the faults below.
var worstNotYet = map[string]string{}

// worst lists what goes wrong more seldom, and worse.
var worst = []fault{
	{name: "device replaced by a bridge of its name", renamed: true, cuts: true,
		inject: replaceOverlays("type bridge"), also: bridgesStay, undo: removeImposters},
	{name: "device replaced by another VNI of its name", renamed: true, cuts: true,
		inject: replaceOverlays("type vxlan id 424FAMILY dstport 8472 local UPLINK dev eth0"), undo: removeImposters},
	{name: "VNI and port held by another device", renamed: true, cuts: true,
		inject: replaceOverlays("", "vxFAMILY type vxlan id 1 dstport 8472 local UPLINK dev eth0"), undo: removeImposters},
	{name: "VNI and port held by a device without address", renamed: true, cuts: true,
		inject: forgetAddress, undo: removeImposters},
	{name: "two devices, the other one matches", renamed: true, cuts: true,
		inject: replaceOverlays("type vxlan id 1 dstport 8473 local UPLINK dev eth0",
			"vxFAMILY type vxlan id 1 dstport 8472 local UPLINK dev eth0"), undo: removeImposters},
	{name: "device renamed", renamed: true, inject: onOverlays("ip link set dev %s name x%[1]s"), undo: removeImposters},
	{name: "device's MAC changed", inject: onOverlays("ip link set dev %s address 02:00:00:00:00:77")},
	{name: "2000 junk entries each: FDB, neighbors", inject: floodOverlays},
	{name: "2000 junk entries in the bridge's FDB", inject: floodBridge, foreign: junk, undo: dryBridge},
	{name: "routes lead elsewhere", inject: misleadRoutes},
	{name: "4000 foreign route changes", inject: stormRoutes},
	{name: "IPv6 off on the device", dualOnly: true, inject: setSysctl("net/ipv6/conf/flannel-v6.1/disable_ipv6", "1")},
	{name: "uplink's MTU 1400 and back", inject: shrinkUplink},
	{name: "default route moved to another link and back", extra: 3 * allowed, // two changes, and the peer must learn of each
		inject: moveDefaultRoute},
	{name: "subnet.env truncated", inject: onSubnetFile(truncate)},
	{name: "subnet.env deleted", inject: onSubnetFile(remove)},
	{name: "state files half-written, agent killed", restarts: true, inject: whileKilled(onStateFiles(truncate))},
	{name: "state files of another node, agent killed", restarts: true, inject: whileKilled(takeStateFiles)},
	{name: "state files from the future, agent killed", restarts: true,
		inject: whileKilled(onStateFiles(dated(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))))},
	{name: "state files from 1971, agent killed", restarts: true,
		inject: whileKilled(onStateFiles(dated(time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC))))},
}

// TestWorst runs each of them where there is most to break. Which firewall there
// is makes no difference to them.
func TestWorst(t *testing.T) {
	t.Parallel()
	suite{worst, modes[1:2], worstNotYet}.run(t)
}

// misleadRoutes gives each overlay route another gateway.
func misleadRoutes(t *testing.T, v *victim) {
	t.Helper()
	via := regexp.MustCompile(` via \S+`)
	for i, device := range v.overlays {
		family := []string{"-4", "-6"}[i]
		wrong := []string{"10.244.255.77", "fd00:10:244:ffff::77"}[i]
		var commands []string
		for line := range strings.Lines(run(t, v.node.NS(), "ip "+family+" route show dev "+device+" proto 112")) {
			line = via.ReplaceAllString(strings.TrimSuffix(strings.TrimSpace(line), " pref medium"), " via "+wrong)
			commands = append(commands, "route replace "+line+" dev "+device+" proto 112")
		}
		if len(commands) != 1 {
			t.Fatalf("routes of %s: %q; want one", device, commands)
		}
		batch(t, v.node.NS(), family, commands...)
	}
}

// stormRoutes makes changes that are none of the agent's business, and wants it
// to look far less often than it is told of one.
func stormRoutes(t *testing.T, v *victim) {
	t.Helper()
	const routes = 2000
	var add, del []string
	for i := range routes {
		dst := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}).String()
		add, del = append(add, "route add blackhole "+dst), append(del, "route del blackhole "+dst)
	}
	before := roundsOf(t, v)
	batch(t, v.node.NS(), "", add...)
	batch(t, v.node.NS(), "", del...)
	if n := roundsOf(t, v) - before; n > routes/10 {
		v.wrong = fmt.Errorf("%d changes made the agent look %d times; want a tenth of that at most", 2*routes, n)
	} else {
		t.Logf("%d changes made the agent look %d times", 2*routes, n)
	}
}

func roundsOf(t *testing.T, v *victim) int {
	t.Helper()
	s, err := v.node.Agent(0).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Kernel.Count
}

// shrinkUplink lets the underlay carry less for a while.
func shrinkUplink(t *testing.T, v *victim) {
	t.Helper()
	for _, m := range []struct{ uplink, overlay int }{{1400, 1350}, {1500, 1450}} {
		run(t, v.node.NS(), fmt.Sprintf("ip link set dev eth0 mtu %d", m.uplink))
		err := eventually(t, patient, func() error {
			link := run(t, v.node.NS(), "ip -o link show dev flannel.1")
			if !strings.Contains(link, fmt.Sprintf(" mtu %d ", m.overlay)) {
				return fmt.Errorf("uplink's MTU is %d, and the device: %s", m.uplink, link)
			}
			return nil
		})
		v.wrong = errors.Join(v.wrong, err)
	}
}

// moveDefaultRoute gives the node a second uplink, lets the default routes lead
// there, and takes it away again once the agent has followed.
func moveDefaultRoute(t *testing.T, v *victim) {
	t.Helper()
	sw, node := v.lab.Switch(), v.node.NS()
	run(t, sw, "ip link add eth1n1 master sw1 type veth peer name eth1 netns "+node.Name())
	run(t, sw, "ip link set dev eth1n1 up")
	there := []string{"address add 192.168.77.211/24 dev eth1", "link set dev eth1 up"}
	back := []string{"link del dev eth1"}
	for i, family := range []string{"-4", "-6"}[:len(v.overlays)] {
		if i == 1 {
			there = append(there, "address add fd77::d3/64 dev eth1 nodad")
		}
		line := strings.TrimSpace(run(t, node, "ip "+family+" route show default"))
		line = strings.TrimSuffix(line, " pref medium")
		there = append(there, "route del "+line, "route add "+strings.Replace(line, "eth0", "eth1", 1))
		back = append(back, "route add "+line)
	}
	batch(t, node, "", there...)
	uplink := func(name string) error {
		s, err := v.node.Agent(0).Status(t.Context())
		if err == nil && s.Uplink.Name != name {
			err = fmt.Errorf("uplink is %s; want %s", s.Uplink.Name, name)
		}
		return err
	}
	v.wrong = eventually(t, patient, func() error { return uplink("eth1") })
	batch(t, node, "", back...)
}
