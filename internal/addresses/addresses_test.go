// SPDX-License-Identifier: Apache-2.0

package addresses

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/network/pod"
	"github.com/percale-net/percale/subnet/ipam"
	"github.com/percale-net/percale/subnet/local"
)

// A node is a namespace with a link "up0", a run directory and a store.
type node struct {
	netns.NS
	host  *kernel.Conn
	run   string
	store local.Store
}

func newNode(t *testing.T) node {
	t.Helper()
	n := node{NS: netns.Temp(t), run: t.TempDir()}
	var err error
	if n.host, err = kernel.Open(n.Path()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.host.Close() })
	if n.store, err = local.NewStore(t.TempDir(), "cbr0"); err != nil {
		t.Fatal(err)
	}
	n.ip(t, "link add up0 type bridge")
	n.ip(t, "link set up0 up")
	n.ip(t, "addr add 10.42.7.1/24 dev up0")
	return n
}

func (n node) ip(t *testing.T, args string) {
	t.Helper()
	if out, err := n.Output("ip", strings.Fields(args)...); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

// add gives a container an address of each family, as percale-cni does, so long
// ago.
func (n node) add(t *testing.T, container string, ago time.Duration) []netip.Addr {
	t.Helper()
	var ranges []ipam.Range
	for _, s := range []string{"10.42.7.0/24", "fd00:0:0:7::/64"} {
		r, err := ipam.NewRange(netip.MustParsePrefix(s))
		if err != nil {
			t.Fatal(err)
		}
		ranges = append(ranges, r)
	}
	addrs, err := n.store.Reserve(t.Context(), local.Owner{Container: container, Ifname: "eth0"}, ranges)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-ago)
	for _, a := range addrs {
		if err := os.Chtimes(filepath.Join(n.store.Dir(), a.String()), at, at); err != nil {
			t.Fatal(err)
		}
	}
	return addrs
}

func (n node) plug(t *testing.T, container string) string {
	t.Helper()
	port, _ := pod.HostEnd(container, "eth0")
	n.ip(t, "link add "+port+" type veth peer name far"+port[7:])
	return port
}

// populate makes one container for each sign of life, and one without any.
func (n node) populate(t *testing.T) {
	t.Helper()
	n.add(t, "gone", time.Hour)
	n.add(t, "live", time.Hour)
	n.plug(t, "live")
	n.add(t, "young", 0)
	heard := n.add(t, "heard", time.Hour)
	n.ip(t, "neigh add "+heard[0].String()+" lladdr 02:00:00:00:00:07 dev up0 nud reachable")
	n.add(t, "renamed", time.Hour)
	port := n.plug(t, "renamed")
	if out, err := n.Output("ip", "link", "set", port, "alias", "percale-cni cbr0 renamed eth0"); err != nil {
		t.Fatal(err, out)
	}
	n.ip(t, "link set "+port+" name strange0")
	path := filepath.Join(n.store.Dir(), "10.42.7.200") // another plugin's
	if err := os.WriteFile(path, []byte("foreign\r\neth0"), 0o644); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func containers(all []Attachment) []string {
	var names []string
	for _, a := range all {
		names = append(names, a.Owner.Container)
	}
	slices.Sort(names)
	return names
}

func (n node) look(t *testing.T, here bool) View {
	t.Helper()
	v, err := Look(t.Context(), n.host, []local.Store{n.store}, func(local.Store) bool { return here })
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestLookTellsTheFateOfEach(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.populate(t)
	v := n.look(t, true)
	want := map[string]ipam.Fate{
		"gone": ipam.Gone, "live": ipam.Live, "young": ipam.Young, "heard": ipam.Live, "renamed": ipam.Live, "foreign": ipam.Unknown,
	}
	for _, a := range v.Attachments {
		if got := a.Fate(v.At, Grace); got != want[a.Owner.Container] {
			t.Errorf("%s is %s; want %s", a.Owner.Container, got, want[a.Owner.Container])
		}
		delete(want, a.Owner.Container)
	}
	if len(want) > 0 {
		t.Errorf("not seen: %v", want)
	}
	if gone := n.look(t, false).Gone(0); gone != nil {
		t.Errorf("seen from elsewhere, %v are gone; want none known to be", containers(gone))
	}
	use := v.Use(netip.MustParsePrefix("10.42.7.0/24"))
	if use.Used != 6 || use.Total != 253 || use.Gone != 1 || use.Percent() != 2 || use.Free() != 247 {
		t.Errorf("use = %+v; want 6 of 253, 1 gone", use)
	}
}

func TestFreeAsksAgain(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.add(t, "gone", time.Hour)
	a := n.look(t, true).Gone(Grace)[0]
	port := n.plug(t, "gone")
	err := n.Do(func() error {
		if freed, err := Free(t.Context(), n.host, a); freed || err != nil {
			t.Errorf("Free of what has its port again = %t, %v; want nothing done", freed, err)
		}
		n.ip(t, "link del "+port)
		if freed, err := Free(t.Context(), n.host, a); !freed || err != nil {
			t.Errorf("Free = %t, %v; want it done", freed, err)
		}
		return nil
	})
	if v := n.look(t, true); err != nil || len(v.Attachments) > 0 || v.Use(netip.MustParsePrefix("10.42.7.0/24")).Resting != 1 {
		t.Errorf("%v; left %v, freed %v; want the addresses free and resting", err, containers(v.Attachments), v.Freed)
	}
}

// round runs one round of s where percale-cni would run.
func (n node) round(t *testing.T, s *Sweeper) (r Round) {
	t.Helper()
	err := n.Do(func() (err error) {
		r, err = s.Round(t.Context())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSweepFreesOnlyWhatIsGone(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.populate(t)
	s := &Sweeper{RunDir: n.run, Host: n.host, grace: 10 * time.Minute, apart: 1}
	if r := n.round(t, s); r.Known {
		t.Errorf("without a note, round = %+v; want nothing known", r)
	}
	var here local.Place
	err := n.Do(func() (err error) {
		here, err = local.Here()
		return err
	})
	if err := errors.Join(err, local.Network{Store: n.store, SubnetFile: "/subnet.env"}.Note(n.run, here)); err != nil {
		t.Fatal(err)
	}
	if r := n.round(t, s); !r.Known || r.Freed != nil || len(r.Attachments) != 6 {
		t.Errorf("at first sight freed %v of %v; want none", containers(r.Freed), containers(r.Attachments))
	}
	off := *s
	off.Off = true
	if r := n.round(t, &off); r.Freed != nil {
		t.Errorf("switched off, freed %v; want none", containers(r.Freed))
	}
	r := n.round(t, s)
	if got := containers(r.Freed); !slices.Equal(got, []string{"gone"}) || len(r.Attachments) != 5 {
		t.Errorf("freed %v, left %v; want gone alone freed", got, containers(r.Attachments))
	}
	if r := n.round(t, s); r.Freed != nil || len(r.Attachments) != 5 {
		t.Errorf("then freed %v, left %v; want no more", containers(r.Freed), containers(r.Attachments))
	}
}

// The directory of one node's addresses may be seen from another one's
// namespace, where none of its ports are.
func TestSweepLeavesOtherNamespacesAlone(t *testing.T) {
	t.Parallel()
	n, other := newNode(t), newNode(t)
	n.add(t, "elsewhere", time.Hour)
	err := other.Do(func() error {
		there, err := local.Here()
		return errors.Join(err, local.Network{Store: n.store, SubnetFile: "/subnet.env"}.Note(n.run, there))
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &Sweeper{RunDir: n.run, Host: n.host, grace: time.Minute, apart: 1}
	for range 3 {
		if r := n.round(t, s); r.Known || r.Freed != nil {
			t.Errorf("freed %v, known %t; want nothing known of another namespace", containers(r.Freed), r.Known)
		}
	}
}

func TestUsersByNamespace(t *testing.T) {
	t.Parallel()
	of := func(pod, container string, addrs ...string) Attachment {
		a := Attachment{Holding: local.Holding{Pod: pod, Owner: local.Owner{Container: container}}}
		for _, s := range addrs {
			a.Addrs = append(a.Addrs, netip.MustParseAddr(s))
		}
		return a
	}
	v := View{Attachments: []Attachment{
		of("web/a", "1", "10.42.7.2", "fd00::2"), of("ci/a", "2", "10.42.7.3"), of("ci/b", "3", "10.42.7.4"),
		of("", "0123456789abcdef", "10.42.7.5"), of("old/a", "4", "10.42.9.2"),
	}}
	want := []User{{"ci", 2}, {"container 0123456789abc", 1}, {"web", 1}}
	if got := v.Users(netip.MustParsePrefix("10.42.7.0/24")); !slices.Equal(got, want) {
		t.Errorf("users = %v; want %v", got, want)
	}
}

func TestUseCountsOnlyWhatPodsGet(t *testing.T) {
	t.Parallel()
	span := func(s string) ipam.Span {
		span, err := ipam.ParseSpan(s)
		if err != nil {
			t.Fatal(err)
		}
		return span
	}
	now := time.Now()
	subnet := netip.MustParsePrefix("10.42.7.0/24")
	in, out := netip.MustParseAddr("10.42.7.70"), netip.MustParseAddr("10.42.7.5")
	v := View{
		At:          now,
		Attachments: []Attachment{{Holding: local.Holding{Addrs: []netip.Addr{in, out}}}},
		Odd:         []Odd{{Oddity: local.Oddity{Name: "10.42.7.71"}}, {Oddity: local.Oddity{Name: "10.42.7.6"}}},
		Freed:       map[netip.Addr]time.Time{in.Next().Next(): now, out.Next().Next(): now},
	}
	for _, tt := range []struct {
		name   string
		bounds []ipam.Span
		want   Use
	}{
		{"all", nil, Use{Used: 4, Total: 253, Resting: 2}},
		{"a part", []ipam.Span{span("10.42.7.64/26")}, Use{Used: 2, Total: 64, Resting: 1}},
		{"of the other family", []ipam.Span{span("fd00::9")}, Use{Used: 4, Total: 253, Resting: 2}},
		{"of the node's subnet before", []ipam.Span{span("10.42.3.64/26")}, Use{Used: 4, Total: 253, Resting: 2}},
	} {
		v.Bounds, tt.want.Subnet = tt.bounds, subnet
		if got := v.Use(subnet); got != tt.want {
			t.Errorf("%s: use = %+v; want %+v", tt.name, got, tt.want)
		}
	}
}
