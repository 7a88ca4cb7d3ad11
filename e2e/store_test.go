// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/status"
)

// TestRaceForLastSubnet starts two nodes where there is one subnet. One gets
// it, the other says why it waits, lives on, and gets it when it is free.
func TestRaceForLastSubnet(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 2, NoWait: true,
		Conf: conf(`{"SubnetMin":"10.244.7.0","SubnetMax":"10.244.7.0"}`)})
	last := netip.MustParsePrefix("10.244.7.0/24")
	var winner, loser *lab.Node
	eventually(t, func() error {
		winner, loser = nil, nil
		for _, n := range l.Nodes() {
			s, err := n.Agent(0).Status(t.Context())
			switch {
			case err != nil:
				return err
			case slices.Contains(s.Subnets, last):
				winner = n
			case !s.Ready && strings.Contains(s.Waiting, "free subnet"):
				loser = n
			}
		}
		if winner == nil || loser == nil {
			return fmt.Errorf("winner %v, loser %v; want one of each", winner, loser)
		}
		return nil
	})
	pid := loser.Agent(0).PID()
	if err := l.RemoveNode(t.Context(), winner); err != nil {
		t.Fatal(err)
	}
	put(t, l, map[string]string{"/subnets/10.244.7.0-24": ""})
	ready(t, 0, loser)
	if s, err := loser.Agent(0).Status(t.Context()); err != nil || !slices.Contains(s.Subnets, last) || loser.Agent(0).PID() != pid {
		t.Errorf("loser has %v, %v, process %d; want %s and process %d", s.Subnets, err, loser.Agent(0).PID(), last, pid)
	}
}

// TestManyStartAtOnce starts agents together on a store with little room: each
// gets a subnet of its own.
func TestManyStartAtOnce(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 6, NoWait: true, Conf: conf(`{"SubnetMin":"10.244.1.0","SubnetMax":"10.244.6.0"}`)})
	ready(t, 5, l.Nodes()...)
	owner := make(map[netip.Prefix]string)
	for _, n := range l.Nodes() {
		for _, s := range subnetsOf(t, n) {
			if o := owner[s]; o != "" {
				t.Errorf("%s and %s both have %s", o, n.Name(), s)
			}
			owner[s] = n.Name()
		}
	}
	if len(owner) != 6 {
		t.Errorf("owners = %v; want six subnets", owner)
	}
}

// TestMalformedLeases puts leases into etcd that no agent may believe. Each is
// refused alone and shown with its reason; the good ones stand.
func TestMalformedLeases(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 2, Pods: 1})
	n := l.Node(1)
	before := dataPlane(t, n)
	own, peer := subnetsOf(t, n)[0], subnetsOf(t, l.Node(2))[0]
	bad := malformed(own, peer, macOf(t, l.Node(2), "flannel.1"))
	put(t, l, bad)
	good := "/subnets/10.244.250.0-24"
	put(t, l, map[string]string{good: foreign("192.168.77.250", "26:1b:00:00:00:99")})
	eventually(t, func() error { return knowsUplink(t, n, netip.MustParseAddr("192.168.77.250")) })
	await(t, n, func(s status.Status) error { return allRefused(s, bad) })
	showsRefused(t, l, bad)
	prove(t, l)

	for key := range bad {
		bad[key] = ""
	}
	bad[good] = ""
	put(t, l, bad)
	await(t, n, func(s status.Status) error {
		if len(s.Refused) > 0 {
			return fmt.Errorf("refused = %v; want none left", s.Refused)
		}
		return nil
	})
	ready(t, 1, n)
	if after := dataPlane(t, n); after != before {
		t.Errorf("after malformed leases came and went:\n%s\nwant as before:\n%s", after, before)
	}
}

// malformed returns leases that are wrong, by key, for the first node of a lab
// with those two subnets and that MAC of the second one's device.
func malformed(own, peer netip.Prefix, taken string) map[string]string {
	const mac = "26:1b:00:00:00:01"
	return map[string]string{
		"/subnets/10.244.200.0-24": `{"PublicIP":"192.168.77.200",`,
		"/subnets/10.244.201.0-24": foreign("192.168.77.201", "not a MAC"),
		"/subnets/10.244.202.0-24": foreign("192.168.77.202", "01:00:5e:00:00:01"),
		// Our own address; without a node's name it would be a lease of ours, from before Percale.
		"/subnets/10.244.203.0-24": strings.Replace(foreign("192.168.77.11", mac), "{", `{"Node":"other",`, 1),
		"/subnets/10.244.204.0-24": foreign("224.0.0.1", mac),
		"/subnets/10.244.205.0-24": foreign("0.0.0.0", mac),
		"/subnets/10.244.206.0-24": foreign("192.168.77.206", taken), // the other peer's MAC
		"/subnets/0.0.0.0-0":       foreign("192.168.77.207", mac),
		"/subnets/192.168.0.0-24":  foreign("192.168.77.208", mac), // outside the network
		"/subnets/224.1.1.0-24":    foreign("192.168.77.209", mac),
		"/subnets/10.244.0.0-16":   foreign("192.168.77.210", mac), // over everybody's
		"/subnets/nonsense":        "nonsense",
		"/subnets/10.244.999.0-24": foreign("192.168.77.211", mac),
		halfKey(own):               foreign("192.168.77.212", mac), // within ours
		halfKey(peer):              foreign("192.168.77.213", mac), // within a peer's
	}
}

// halfKey is the key of the first half of a subnet.
func halfKey(s netip.Prefix) string {
	return leaseKey([]netip.Prefix{netip.PrefixFrom(s.Addr(), s.Bits()+1)})
}

// allRefused wants a refusal with a reason for each of the keys, and no other.
func allRefused(s status.Status, keys map[string]string) error {
	var errs []error
	for key := range keys {
		name := strings.TrimPrefix(key, "/subnets/")
		if !slices.ContainsFunc(s.Refused, func(r status.Refusal) bool { return names(r, name) && r.Reason != "" }) {
			errs = append(errs, fmt.Errorf("lease %s is not refused", name))
		}
	}
	if len(s.Refused) != len(keys) {
		errs = append(errs, fmt.Errorf("%d leases refused, %v; want %d", len(s.Refused), s.Refused, len(keys)))
	}
	return errors.Join(errs...)
}

// names reports whether a refusal is about a lease, which it may name as the
// store does or by its subnets.
func names(r status.Refusal, key string) bool {
	asPrefixes := strings.NewReplacer("-", "/", "&", " ").Replace(key)
	return strings.Contains(r.Lease, key) || strings.Contains(r.Lease, asPrefixes)
}

// showsRefused wants percale status, in both forms, to show each refusal.
func showsRefused(t *testing.T, l *lab.Lab, keys map[string]string) {
	t.Helper()
	text := percale(t, l.Node(1), "status")
	var s status.Status
	if err := json.Unmarshal([]byte(percale(t, l.Node(1), "status", "-o", "json")), &s); err != nil {
		t.Fatalf("percale status -o json: %v", err)
	}
	if err := allRefused(s, keys); err != nil {
		t.Errorf("percale status -o json: %v", err)
	}
	for _, r := range s.Refused {
		if !strings.Contains(text, r.Lease) || !strings.Contains(text, r.Reason) {
			t.Errorf("percale status:\n%s\nwant it to show %+v", text, r)
		}
	}
}

// TestEtcdAway wants agents that start without etcd to wait and say so, and
// what was programmed to go on working.
func TestEtcdAway(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 2, Pods: 1})
	if err := l.StopEtcd(t.Context()); err != nil {
		t.Fatal(err)
	}
	fresh, err := l.AddNode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known := l.Node(1)
	before := dataPlane(t, known)
	if err := known.Agent(0).Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := known.Agent(0).Start(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*lab.Node{fresh, known} {
		await(t, n, func(s status.Status) error {
			if s.Store.Error == "" && !strings.Contains(s.Waiting, "etcd") {
				return fmt.Errorf("store error %q, waiting for %q; want either to name etcd", s.Store.Error, s.Waiting)
			}
			return nil
		})
	}
	prove(t, l)
	if after := dataPlane(t, known); after != before {
		t.Errorf("after a restart without etcd:\n%s\nwant as before:\n%s", after, before)
	}
	pids := []int{fresh.Agent(0).PID(), known.Agent(0).PID()}
	if err := l.StartEtcd(t.Context()); err != nil {
		t.Fatal(err)
	}
	ready(t, 2, l.Nodes()...)
	if got := []int{fresh.Agent(0).PID(), known.Agent(0).PID()}; !slices.Equal(got, pids) || slices.Contains(got, 0) {
		t.Errorf("agents are processes %v; want those that waited, %v", got, pids)
	}
	if _, err := fresh.AddPod(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	prove(t, l)
}
