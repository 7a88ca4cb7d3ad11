// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"crypto/sha256"
	"fmt"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// A table is the whole wish for one nftables table.
type table struct {
	*nft.Table
	sets   []*set
	chains []*chain // those that others jump to come first
}

// A set has elements, by key.
type set struct {
	*nft.Set
	want    keys
	learned bool // the kernel fills it
}

// Keys are the elements of a set, as the kernel compares them.
type keys map[string]struct{}

func (k keys) add(key []byte) { k[string(key)] = struct{}{} }

// A chain lists rules. One without a hook is jumped to.
type chain struct {
	*nft.Chain
	rules []rule
}

// A rule is what the kernel evaluates, from left to right.
type rule struct {
	why   string // a few plain words for who lists the rules
	exprs []expr.Any
}

// newTable returns a table without anything in it.
func newTable(name string, family nft.TableFamily) *table {
	return &table{Table: &nft.Table{Name: name, Family: family}}
}

// set adds a set whose keys are the fields, one after the other.
func (t *table) set(name string, fields ...nft.SetDatatype) *set {
	key, err := nft.ConcatSetType(fields...)
	if err != nil {
		panic("guard: " + err.Error()) // more fields than a key can have
	}
	if len(fields) == 1 {
		key = fields[0]
	}
	s := &set{want: make(keys), Set: &nft.Set{
		// A number of our own: the library's counter is not for several goroutines.
		Table: t.Table, Name: name, ID: uint32(len(t.sets) + 1), KeyType: key, Concatenation: len(fields) > 1,
	}}
	t.sets = append(t.sets, s)
	return s
}

// chain adds a chain, for packets that others jump there with.
func (t *table) chain(name string) *chain {
	c := &chain{Chain: &nft.Chain{Table: t.Table, Name: name}}
	t.chains = append(t.chains, c)
	return c
}

// base adds a chain that packets meet at a hook. They pass unless a rule says
// otherwise.
func (t *table) base(name string, hook *nft.ChainHook, priority *nft.ChainPriority) *chain {
	c := t.chain(name)
	accept := nft.ChainPolicyAccept
	c.Type, c.Hooknum, c.Priority, c.Policy = nft.ChainTypeFilter, hook, priority, &accept
	return c
}

// rule adds a rule whose parts are given one after the other.
func (c *chain) rule(why string, parts ...[]expr.Any) {
	r := rule{why: why}
	for _, p := range parts {
		r.exprs = append(r.exprs, p...)
	}
	c.rules = append(c.rules, r)
}

// mark returns what "nft list" shows behind a rule, and tells two rules apart
// when both are read from the kernel: it contains a digest of the expressions.
func (r rule) mark(family nft.TableFamily) (string, error) {
	sum := sha256.New()
	for _, e := range r.exprs {
		b, err := expr.Marshal(byte(family), e)
		if err != nil {
			return "", fmt.Errorf("encode rule %q: %w", r.why, err)
		}
		sum.Write(b)
	}
	return fmt.Sprintf("%s [%.4x]", r.why, sum.Sum(nil)), nil
}

// marks returns the marks of c's rules, in order.
func (c *chain) marks(family nft.TableFamily) ([]string, error) {
	var all []string
	for _, r := range c.rules {
		m, err := r.mark(family)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// write adds c's rules to the transaction, in place of those that it has.
func (c *chain) write(to *nft.Conn) error {
	marks, err := c.marks(c.Table.Family)
	if err != nil {
		return err
	}
	to.AddChain(c.Chain)
	to.FlushChain(c.Chain)
	for i, r := range c.rules {
		to.AddRule(&nft.Rule{
			Table: c.Table, Chain: c.Chain, Exprs: r.exprs,
			UserData: userdata.AppendString(nil, userdata.TypeComment, marks[i]),
		})
	}
	return nil
}
