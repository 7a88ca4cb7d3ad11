// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/lab"
)

// A state is all of a node that the agent, or a pod's traffic, depends on: one
// line per entry, each headed by what shows it, in order. It has nothing in it
// that changes by itself.
type state []string

// stateOf dumps a node.
func stateOf(t *testing.T, n *lab.Node) state {
	t.Helper()
	var s state
	ns := n.NS()
	s.add("link", links(batch(t, ns, "-o -d", "link show")))
	for _, family := range []string{"-4", "-6"} {
		s.add("ip "+family, batch(t, ns, family+" -o -d", "address show", "route show table all", "rule show"))
		s.add("neighbor", batch(t, ns, family, "neigh show nud permanent"))
	}
	for line := range strings.Lines(run(t, ns, "bridge fdb show")) {
		// Bridges learn the rest from traffic.
		if strings.Contains(line, " permanent") || strings.Contains(line, " dst ") {
			s.add("fdb", line)
		}
	}
	s.add("iptables", iptablesRules(t, ns, "iptables-save"))
	s.add("ip6tables", iptablesRules(t, ns, "ip6tables-save"))
	s.add("nft", nftRules(t, ns))
	s.add("sysctl", sysctls(t, n))
	env, err := os.ReadFile(n.Agent(0).SubnetFile())
	s.add("subnet.env", fmt.Sprintf("%s%v", env, err))
	slices.Sort(s)
	return s
}

// links heads each line of what ip -o put into one by the device's name.
func links(out string) string {
	var b strings.Builder
	for line := range strings.Lines(out) {
		head, rest, _ := strings.Cut(strings.TrimSpace(line), `\`)
		b.WriteString(head + "\n")
		for _, detail := range strings.Split(rest, `\`) {
			fmt.Fprintf(&b, "%s %s\n", strings.Fields(head)[1], detail)
		}
	}
	return b.String()
}

// volatile is what differs from one look to the next, or from one device to
// another just like it: device numbers, timers, counts of what was learned.
var volatile = regexp.MustCompile(`^\d+: |\b\w+_timer +[\d.]+|\bfdb_n_learned \d+`)

// add adds lines, each headed by where they are from.
func (s *state) add(from, lines string) {
	for line := range strings.Lines(lines) {
		line = strings.ReplaceAll(line, `\`, " ") // where ip -o put lines together
		if line = volatile.ReplaceAllString(line, ""); strings.TrimSpace(line) != "" {
			*s = append(*s, from+": "+strings.Join(strings.Fields(line), " "))
		}
	}
}

// without returns the state without the lines that a fault is to change for
// good.
func (s state) without(foreign *regexp.Regexp) state {
	if foreign == nil {
		return s
	}
	return slices.DeleteFunc(slices.Clone(s), foreign.MatchString)
}

// rename returns the state with one name of a device in place of another. Lines
// that had that one already are left out.
func (s state) rename(from, to string) state {
	names := func(name string) *regexp.Regexp {
		return regexp.MustCompile(`(^|[^\w.-])` + regexp.QuoteMeta(name) + `([^\w.-]|$)`)
	}
	is := names(from)
	out := s.without(names(to))
	for i, line := range out {
		for is.MatchString(line) { // matches may share what lies between them
			line = is.ReplaceAllString(line, "${1}"+to+"${2}")
		}
		out[i] = line
	}
	return out
}

// diff says what a node has lost and got, "" for nothing.
func diff(before, after state) string {
	var b strings.Builder
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && before[0] < after[0]:
			fmt.Fprintf(&b, "- %s\n", before[0])
			before = before[1:]
		case len(before) == 0 || after[0] < before[0]:
			fmt.Fprintf(&b, "+ %s\n", after[0])
			after = after[1:]
		default:
			before, after = before[1:], after[1:]
		}
	}
	return b.String()
}

// settings are those of each device, below net/ipv4/conf and net/ipv6/conf,
// that decide on a packet's way or that the kernel changes along with them.
var settings = map[string][]string{
	"ipv4": {"forwarding", "rp_filter", "accept_local", "accept_redirects", "send_redirects",
		"route_localnet", "proxy_arp", "arp_ignore", "arp_announce"},
	"ipv6": {"forwarding", "disable_ipv6", "accept_ra", "accept_dad", "accept_redirects",
		"addr_gen_mode", "autoconf", "mtu", "proxy_ndp", "keep_addr_on_down"},
}

// sysctls shows the settings of the node and of each of its devices.
func sysctls(t *testing.T, n *lab.Node) string {
	t.Helper()
	var b strings.Builder
	show := func(path string) {
		if value, err := os.ReadFile(path); err == nil { // else a device went, or there is no such setting
			fmt.Fprintf(&b, "%s = %s\n", strings.TrimPrefix(path, "/proc/sys/"), strings.TrimSpace(string(value)))
		}
	}
	err := n.NS().Do(func() error {
		show("/proc/sys/net/ipv4/ip_forward")
		for family, names := range settings {
			devices, err := filepath.Glob("/proc/sys/net/" + family + "/conf/*")
			if err != nil {
				return err
			}
			for _, dir := range devices {
				for _, name := range names {
					show(filepath.Join(dir, name))
				}
			}
		}
		return nil
	})
	if err != nil || b.Len() == 0 {
		t.Fatalf("read sysctls of %s: %d bytes, %v", n.Name(), b.Len(), err)
	}
	return b.String()
}
