// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	nft "github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/firewall"
)

// chunk is how many elements are written in one transaction. A socket takes
// some 200 kB at once, and an attribute 64 kB.
const chunk = 1000

// sync makes the kernel hold t, but for elements that drop says no to, and says
// in words what was different. Elements are there before the rules that ask for
// them, so that no packet meets the one without the other.
func (t *table) sync(c *nft.Conn, have *content, drop func(set, key string) bool) (changed []string, err error) {
	if have != nil {
		if why := t.unlike(have); why != "" {
			c.DelTable(t.Table)
			if err := c.Flush(); err != nil {
				return nil, err
			}
			have, changed = nil, append(changed, why)
		}
	}
	if have == nil {
		have, changed = new(content), append(changed, "table: missing")
		c.AddTable(t.Table)
	}
	for _, s := range t.sets {
		if _, ok := have.sets[s.Name]; !ok {
			if err := c.AddSet(s.Set, nil); err != nil {
				return nil, err
			}
			if have.flags == 0 && len(have.heads) > 0 {
				changed = append(changed, "set "+s.Name+": missing")
			}
		}
	}
	if err := c.Flush(); err != nil {
		return nil, explain(err, unix.ENOENT)
	}
	told, err := t.syncElements(c, have, drop)
	changed = append(changed, told...)
	if err != nil {
		return changed, err
	}
	told, err = t.syncChains(c, have)
	return append(changed, told...), err
}

func (t *table) syncElements(c *nft.Conn, have *content, drop func(set, key string) bool) (changed []string, err error) {
	for _, s := range t.sets {
		if s.learned {
			continue
		}
		var add, del []nft.SetElement
		for k := range s.want {
			if _, ok := have.elements[s.Name][k]; !ok {
				add = append(add, nft.SetElement{Key: []byte(k)})
			}
		}
		for k := range have.elements[s.Name] {
			if _, ok := s.want[k]; !ok && drop(s.Name, k) {
				del = append(del, nft.SetElement{Key: []byte(k)})
			}
		}
		if err := errors.Join(each(c, add, s.add), each(c, del, s.del)); err != nil {
			return changed, fmt.Errorf("change elements of set %s: %w", s.Name, err)
		}
		if len(add) > 0 {
			changed = append(changed, fmt.Sprintf("set %s: %d elements missing", s.Name, len(add)))
		}
		if len(del) > 0 {
			changed = append(changed, fmt.Sprintf("set %s: %d elements not wanted", s.Name, len(del)))
		}
	}
	return changed, nil
}

func (s *set) add(c *nft.Conn, e []nft.SetElement) error { return c.SetAddElements(s.Set, e) }

// del deletes elements. Deleting one that has gone would fail the whole
// transaction: they are added first.
func (s *set) del(c *nft.Conn, e []nft.SetElement) error {
	return errors.Join(c.SetAddElements(s.Set, e), c.SetDeleteElements(s.Set, e))
}

// each writes elements in transactions of a bearable size.
func each(c *nft.Conn, all []nft.SetElement, change func(*nft.Conn, []nft.SetElement) error) error {
	for part := range slices.Chunk(all, chunk) {
		if err := errors.Join(change(c, part), c.Flush()); err != nil {
			return err
		}
	}
	return nil
}

// syncChains gives all chains their rules in one transaction.
func (t *table) syncChains(c *nft.Conn, have *content) (changed []string, err error) {
	for _, ch := range t.chains {
		want, err := ch.marks(t.Family)
		if err != nil {
			return nil, err
		}
		_, there := have.heads[ch.Name]
		drift := firewall.Drift(have.rules[ch.Name], want)
		switch {
		case !there && len(have.heads) > 0:
			changed = append(changed, "chain "+ch.Name+": missing")
		case there && drift != "":
			changed = append(changed, "chain "+ch.Name+": "+drift)
		case there:
			continue
		}
		c.AddChain(ch.Chain) // all of them before a rule that jumps there
		if err := ch.write(c); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have.heads)) {
		if !slices.ContainsFunc(t.chains, func(ch *chain) bool { return ch.Name == name }) {
			foreign := &nft.Chain{Table: t.Table, Name: name}
			c.FlushChain(foreign)
			c.DelChain(foreign)
			changed = append(changed, "chain "+name+": not wanted")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have.sets)) { // now that no rule asks for them
		if !slices.ContainsFunc(t.sets, func(s *set) bool { return s.Name == name }) {
			c.DelSet(&nft.Set{Table: t.Table, Name: name})
			changed = append(changed, "set "+name+": not wanted")
		}
	}
	if err := c.Flush(); err != nil {
		return nil, explain(err, unix.ENOENT)
	}
	return changed, nil
}

// clear removes t. An absent one is success, as is a kernel without tables.
func (t *table) clear(c *nft.Conn) (was bool, err error) {
	_, there, err := t.exists(c)
	if errors.Is(err, ErrNoNFTables) || err == nil && !there {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c.DelTable(t.Table)
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return false, err
	}
	return true, nil
}
