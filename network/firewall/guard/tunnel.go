// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	nft "github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/firewall"
)

// A Tunnel keeps the table that guards the tunnel of one agent. Its methods may
// be called at once.
type Tunnel struct {
	name string

	mu    sync.Mutex               // guards all following fields
	have  map[firewall.Origin]bool // as far as is known; nil: nothing is
	sets  map[string]bool          // that there are for them
	rules firewall.Tunnel          // that have goes with
}

// NewTunnel returns the guard of the tunnel of the agent that goes by the name.
func NewTunnel(instance string) *Tunnel { return &Tunnel{name: instance + "-tunnel"} }

// Admit takes tunnel packets of the origins too, before there is any way to
// them, in the network namespace of the calling thread. What it costs depends on
// what is new, not on how many there are, once the table is known.
func (t *Tunnel) Admit(rules firewall.Tunnel, origins map[firewall.Origin]bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	fresh, served := make(map[firewall.Origin]bool), t.have != nil && t.rules == rules
	for o := range origins {
		if !t.have[o] {
			fresh[o] = true
			served = served && t.sets[setOf(versionOf(o.Peer), o.Pods.Bits())]
		}
	}
	if !served {
		all := maps.Clone(origins)
		maps.Copy(all, t.have)
		_, err := t.sync(rules, all, true)
		return err
	}
	if len(fresh) == 0 {
		return nil
	}
	c, err := dial()
	if err != nil {
		return fmt.Errorf("guard tunnel: %w", err)
	}
	defer c.CloseLasting()
	for _, s := range newTunnel(t.name, rules, fresh).sets {
		if err := each(c, s.elements(), s.add); err != nil {
			t.have = nil
			return fmt.Errorf("guard tunnel: add to set %s: %w", s.Name, err)
		}
	}
	maps.Copy(t.have, fresh)
	return nil
}

// elements returns what s is to hold.
func (s *set) elements() []nft.SetElement {
	all := make([]nft.SetElement, 0, len(s.want))
	for k := range s.want {
		all = append(all, nft.SetElement{Key: []byte(k)})
	}
	return all
}

// Sync makes the kernel take tunnel packets of exactly the origins, or with keep
// of these and of what it takes already, and says in words what was different
// before.
func (t *Tunnel) Sync(rules firewall.Tunnel, origins map[firewall.Origin]bool, keep bool) (changed []string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sync(rules, origins, keep)
}

func (t *Tunnel) sync(rules firewall.Tunnel, origins map[firewall.Origin]bool, keep bool) (changed []string, err error) {
	t.have = nil
	c, err := dial()
	if err != nil {
		return nil, fmt.Errorf("guard tunnel: %w", err)
	}
	defer c.CloseLasting()
	all := maps.Clone(origins)
	if keep {
		if err := t.known(c, all); err != nil {
			return nil, fmt.Errorf("guard tunnel: read table %s: %w", t.name, err)
		}
	}
	want := newTunnel(t.name, rules, all)
	have, err := want.read(c)
	if err != nil {
		return nil, fmt.Errorf("guard tunnel: read table %s: %w", t.name, err)
	}
	changed, err = want.sync(c, have, func(string, string) bool { return true })
	if err != nil {
		return changed, fmt.Errorf("guard tunnel: write table %s: %w", t.name, err)
	}
	t.have, t.rules, t.sets = all, rules, make(map[string]bool)
	for _, s := range want.sets {
		t.sets[s.Name] = true
	}
	return changed, nil
}

// known adds to all what the kernel takes packets of.
func (t *Tunnel) known(c *nft.Conn, all map[firewall.Origin]bool) error {
	table := newTable(t.name, nft.TableFamilyINet)
	if _, there, err := table.exists(c); err != nil || !there {
		return err
	}
	sets, err := c.GetSets(table.Table)
	if err != nil {
		return err
	}
	for _, s := range sets {
		elements, err := (&set{Set: &nft.Set{Table: table.Table, Name: s.Name}}).readKeys()
		if err != nil {
			return err
		}
		for k := range elements {
			if o, ok := originOf(s.Name, []byte(k)); ok {
				all[o] = true
			}
		}
	}
	return nil
}

// Clear removes the table. An absent one is success.
func (t *Tunnel) Clear() (was bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.have = nil
	c, err := dial()
	if errors.Is(err, ErrNoNFTables) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("end guarding of tunnel: %w", err)
	}
	defer c.CloseLasting()
	was, err = newTunnel(t.name, firewall.Tunnel{}, nil).clear(c)
	if err != nil {
		return false, fmt.Errorf("end guarding of tunnel: %w", err)
	}
	return was, nil
}

// Refusals is what the guard of a tunnel has dropped.
type Refusals struct {
	Tunnel    uint64     // packets of no peer, or not from its pods, since the rules were written
	Pods      uint64     // tunnel packets of pods to nodes, likewise
	Strangers []Stranger // of the last minutes, those with the most packets first
}

// Refusals returns what was dropped.
func (t *Tunnel) Refusals() (Refusals, error) {
	c, err := dial()
	if err != nil {
		return Refusals{}, fmt.Errorf("count refused tunnel packets: %w", err)
	}
	defer c.CloseLasting()
	table := newTunnel(t.name, firewall.Tunnel{}, nil)
	counts, err := table.counts(c)
	if err != nil {
		return Refusals{}, fmt.Errorf("count refused tunnel packets: %w", err)
	}
	r := Refusals{Tunnel: counts[whyRefused], Pods: counts[whyPod]}
	if r.Tunnel == 0 {
		return r, nil
	}
	r.Strangers, err = table.strangers(c)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return r, fmt.Errorf("list refused tunnel packets: %w", err)
	}
	slices.SortFunc(r.Strangers, func(a, b Stranger) int {
		return cmp.Or(cmp.Compare(b.Packets, a.Packets), a.From.Compare(b.From), a.Inner.Compare(b.Inner))
	})
	return r, nil
}
