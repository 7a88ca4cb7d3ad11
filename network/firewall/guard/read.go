// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"errors"
	"fmt"
	"time"

	nft "github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ErrNoNFTables says that this kernel has no nftables for this, or will not let
// us use them.
var ErrNoNFTables = errors.New("the kernel offers no nftables")

// patience bounds one exchange with the kernel, which answers at once or, when
// it refuses a whole transaction, less often than asked.
const patience = 10 * time.Second

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
