// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	nft "github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/firewall"
)

// ErrNoNFTables says that this kernel has no nftables for this, or will not let
// us use them.
var ErrNoNFTables = errors.New("the kernel offers no nftables")

// patience bounds one exchange with the kernel, which answers at once or, when
// it refuses a whole transaction, less often than asked.
const patience = 10 * time.Second

// chunk is how many elements are written in one transaction. A socket takes
// some 200 kB at once, and an attribute 64 kB.
const chunk = 1000

// A content is what the kernel holds of a table.
type content struct {
	flags    uint32            // 1: switched off ("dormant")
	sets     map[string]uint32 // bytes of a key
	heads    map[string]string // of each chain: where it is hooked in
	rules    map[string][]string
	elements map[string]keys
}

// dial connects to the namespace of the calling thread.
func dial() (*nft.Conn, error) {
	c, err := nft.New(nft.AsLasting(), nft.WithSockOptions(func(c *netlink.Conn) error {
		return c.SetDeadline(time.Now().Add(patience))
	}))
	if err != nil {
		return nil, explain(err)
	}
	return c, nil
}

// explain adds ErrNoNFTables to err if it is one of those, or one that only a
// kernel without nftables gives.
func explain(err error, those ...error) error {
	if err == nil {
		return nil
	}
	for _, none := range append(those, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT) {
		if errors.Is(err, none) {
			return fmt.Errorf("%w: %w", ErrNoNFTables, err)
		}
	}
	return err
}

// exists reports whether t is there. It is asked before a transaction is sent:
// a kernel without nftables answers that in fewer words than the library waits
// for.
func (t *table) exists(c *nft.Conn) (flags uint32, there bool, err error) {
	have, err := c.ListTableOfFamily(t.Name, t.Family)
	if errors.Is(err, unix.ENOENT) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, explain(err, unix.EINVAL) // EINVAL: no such part of netfilter
	}
	return have.Flags, true, nil
}

// read returns what the kernel holds; nil if there is no such table. An element
// that comes or goes meanwhile may be missing, which costs no more than writing
// it again: that is no error.
func (t *table) read(c *nft.Conn) (*content, error) {
	flags, there, err := t.exists(c)
	if err != nil || !there {
		return nil, err
	}
	have := &content{
		flags: flags, sets: make(map[string]uint32), heads: make(map[string]string),
		rules: make(map[string][]string), elements: make(map[string]keys),
	}
	sets, err := c.GetSets(t.Table)
	if err != nil {
		return nil, fmt.Errorf("list sets: %w", err)
	}
	for _, s := range sets {
		have.sets[s.Name] = s.KeyType.Bytes
	}
	chains, err := c.ListChainsOfTableFamily(t.Family)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	for _, ch := range chains {
		if ch.Table.Name == t.Name {
			have.heads[ch.Name] = head(ch)
		}
	}
	if err := t.readRules(c, have); err != nil {
		return nil, err
	}
	return have, t.readElements(have)
}

func (t *table) readRules(c *nft.Conn, have *content) error {
	for _, ch := range t.chains {
		if _, ok := have.heads[ch.Name]; !ok {
			continue
		}
		rules, err := c.GetRules(t.Table, ch.Chain)
		if err != nil {
			return fmt.Errorf("list rules of chain %s: %w", ch.Name, err)
		}
		for _, r := range rules {
			mark, _ := userdata.GetString(r.UserData, userdata.TypeComment)
			have.rules[ch.Name] = append(have.rules[ch.Name], mark)
		}
	}
	return nil
}

func (t *table) readElements(have *content) error {
	for _, s := range t.sets {
		if n, ok := have.sets[s.Name]; !ok || n != s.KeyType.Bytes || s.learned {
			continue
		}
		found, err := s.readKeys()
		if err != nil {
			return fmt.Errorf("list elements of set %s: %w", s.Name, err)
		}
		have.elements[s.Name] = found
	}
	return nil
}

// head says where a chain is hooked in.
func head(c *nft.Chain) string {
	if c.Hooknum == nil || c.Priority == nil {
		return ""
	}
	policy := nft.ChainPolicyAccept
	if c.Policy != nil {
		policy = *c.Policy
	}
	return fmt.Sprintf("%s hook %d priority %d policy %d", c.Type, *c.Hooknum, *c.Priority, policy)
}

// unlike says why have cannot be brought to t step by step; "" if it can.
func (t *table) unlike(have *content) string {
	if have.flags != 0 {
		return "table switched off"
	}
	for _, s := range t.sets {
		if n, ok := have.sets[s.Name]; ok && n != s.KeyType.Bytes {
			return "set " + s.Name + " of another kind"
		}
	}
	for _, c := range t.chains {
		if h, ok := have.heads[c.Name]; ok && h != head(c.Chain) {
			return "chain " + c.Name + " hooked in elsewhere"
		}
	}
	return ""
}

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
