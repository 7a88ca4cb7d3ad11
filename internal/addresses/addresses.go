// SPDX-License-Identifier: Apache-2.0

// Package addresses says how the pod addresses of this node are used: how many,
// by whom, and which of them by sandboxes that are gone. Those it can free. The
// rule by which a sandbox is gone is ipam.Holder's; docs/addresses.md tells it
// to operators.
package addresses

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/percale-net/percale/network/firewall/podmasq"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/network/pod"
	"github.com/percale-net/percale/subnet/ipam"
	"github.com/percale-net/percale/subnet/local"
)

// Grace is how old an address must be that is of no sandbox before an operator
// may have it freed: an ADD that waits for locks takes up to 20 seconds.
const Grace = time.Minute

// An Attachment holds addresses.
type Attachment struct {
	local.Holding
	Holder ipam.Holder
	Store  local.Store
	Port   string // the node's end of its veth pair, as percale-cni names it
}

// Fate says what became of its sandbox.
func (a Attachment) Fate(now time.Time, grace time.Duration) ipam.Fate {
	return a.Holder.Fate(now, grace)
}

// A View is what is known of the addresses at one moment.
type View struct {
	At          time.Time
	Attachments []Attachment
	Odd         []Odd
	Freed       map[netip.Addr]time.Time // lately
	Bounds      []ipam.Span              // of what pods get in subnets that some of it is in
}

// An Odd is a file that makes no sense, and where it is.
type Odd struct {
	Store local.Store
	local.Oddity
}

// Look reads stores, and host for the ports of their sandboxes. here tells
// whether percale-cni makes the ports of a store in the namespace of host;
// elsewhere nothing is known to be gone.
func Look(ctx context.Context, host *kernel.Conn, stores []local.Store, here func(local.Store) bool) (View, error) {
	v := View{At: time.Now(), Freed: make(map[netip.Addr]time.Time)}
	for _, s := range stores {
		survey, err := s.Survey()
		if err != nil {
			return View{}, err
		}
		for _, o := range survey.Odd {
			v.Odd = append(v.Odd, Odd{s, o})
		}
		for _, h := range survey.Holdings {
			port, _ := pod.HostEnd(h.Owner.Container, h.Owner.Ifname)
			v.Attachments = append(v.Attachments, Attachment{
				Holding: h, Store: s, Port: port,
				Holder: ipam.Holder{Given: h.Given, Ours: h.Ours, Here: here(s)},
			})
		}
		maps.Copy(v.Freed, survey.Freed)
		v.Bounds = append(v.Bounds, survey.Bounds...)
	}
	return v, v.findPorts(ctx, host)
}

// findPorts looks for signs of life. It comes after the files are read: a
// sandbox that was just made has its file before its port.
func (v *View) findPorts(ctx context.Context, host *kernel.Conn) error {
	links, err := host.Links(ctx)
	if err != nil {
		return err
	}
	aliases, err := host.Aliases(ctx)
	if err != nil {
		return err
	}
	named := make(map[string]bool, len(aliases)) // of ports that somebody renamed
	for _, alias := range aliases {
		if f := strings.Fields(alias); len(f) > 2 {
			named[strings.Join(f[len(f)-2:], " ")] = true
		}
	}
	suspect := false
	for i := range v.Attachments {
		a := &v.Attachments[i]
		_, there := links[a.Port]
		a.Holder.Port = there || named[a.Owner.Container+" "+a.Owner.Ifname]
		suspect = suspect || a.Fate(v.At, Grace) == ipam.Gone
	}
	if !suspect {
		return nil
	}
	answering, err := host.Answering(ctx)
	if err != nil {
		return err
	}
	for i := range v.Attachments {
		a := &v.Attachments[i]
		a.Holder.Heard = slices.ContainsFunc(a.Addrs, func(addr netip.Addr) bool { return answering[addr] })
	}
	return nil
}

// Gone returns what is of sandboxes that have been gone for grace.
func (v View) Gone(grace time.Duration) []Attachment {
	var gone []Attachment
	for _, a := range v.Attachments {
		if a.Fate(v.At, grace) == ipam.Gone {
			gone = append(gone, a)
		}
	}
	return gone
}

// Free ends the masquerading of an attachment and frees its addresses, unless
// it is there again or its addresses have changed hands; then it returns false.
func Free(ctx context.Context, host *kernel.Conn, a Attachment) (bool, error) {
	gone := func() (bool, error) {
		there, err := host.Has(a.Port)
		return !there, err
	}
	if is, err := gone(); err != nil || !is {
		return false, err
	}
	if err := podmasq.Del(a.Addrs); err != nil {
		return false, err
	}
	return a.Store.Reclaim(ctx, a.Holding, gone)
}

// Force frees the addresses of an attachment though it may be there, unless they
// have changed hands; then it returns false.
func Force(ctx context.Context, a Attachment) (bool, error) {
	if err := podmasq.Del(a.Addrs); err != nil {
		return false, err
	}
	return a.Store.Reclaim(ctx, a.Holding, func() (bool, error) { return true, nil })
}

// A Use is how far the addresses of one subnet are used.
type Use struct {
	Subnet  netip.Prefix
	Used    uint64
	Total   uint64 // that pods can have
	Gone    uint64 // of the used: by sandboxes that are gone
	Resting uint64 // of the free: freed so lately that they are given last
}

// Free returns how many addresses can be given.
func (u Use) Free() uint64 { return u.Total - min(u.Used, u.Total) }

// Percent returns how much of the subnet is used, rounded down.
func (u Use) Percent() uint64 {
	if u.Total == 0 {
		return 0
	}
	return uint64(float64(u.Used) / float64(u.Total) * 100)
}

// Use counts the addresses of a subnet. Those that no pod gets, unless it asks
// for them, count neither as used nor as free.
func (v View) Use(subnet netip.Prefix) Use {
	u := Use{Subnet: subnet.Masked()}
	r, err := ipam.NewRange(subnet)
	if err != nil {
		return u
	}
	if bounded, err := r.Restrict(v.Bounds, nil); err == nil { // else they are of an earlier subnet
		r = bounded
	}
	u.Total = r.Size()
	used := make(ipam.Set)
	for _, a := range v.Attachments {
		for _, addr := range a.Addrs {
			if !r.Contains(addr) || used[addr] {
				continue
			}
			used[addr] = true
			if a.Fate(v.At, Grace) == ipam.Gone {
				u.Gone++
			}
		}
	}
	for _, o := range v.Odd { // in use as well: nobody else gets it
		if addr, err := netip.ParseAddr(o.Name); err == nil && r.Contains(addr) {
			used[addr] = true
		}
	}
	u.Used = uint64(len(used))
	for addr, at := range v.Freed {
		if ago := v.At.Sub(at); r.Contains(addr) && !used[addr] && ago >= 0 && ago < local.CoolDown {
			u.Resting++
		}
	}
	return u
}

// A User is a namespace of pods, or a container where no namespace is known,
// and how many addresses it has.
type User struct {
	Name  string
	Addrs int
}

// Users returns who uses addresses of a subnet, most first.
func (v View) Users(subnet netip.Prefix) []User {
	count := make(map[string]int)
	for _, a := range v.Attachments {
		name, _, ok := strings.Cut(a.Pod, "/")
		if !ok {
			name = "container " + Short(a.Owner.Container)
		}
		for _, addr := range a.Addrs {
			if subnet.Contains(addr) {
				count[name]++
			}
		}
	}
	var users []User
	for name, n := range count {
		users = append(users, User{name, n})
	}
	slices.SortFunc(users, func(a, b User) int {
		return cmp.Or(cmp.Compare(b.Addrs, a.Addrs), strings.Compare(a.Name, b.Name))
	})
	return users
}

// Short returns the beginning of a container id, as runtimes' tools show it.
func Short(container string) string { return container[:min(len(container), 13)] }
