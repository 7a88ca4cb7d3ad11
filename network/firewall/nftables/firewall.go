// SPDX-License-Identifier: Apache-2.0

// Package nftables makes the kernel hold a firewall.Ruleset as one inet table
// named percale, over netlink; it needs no nft binary. Whatever is in that
// table is ours.
//
// In nftables, "accept" ends only the chain that says it: a chain of others at
// the same hook may still drop the packet. So the rules that accept what is
// forwarded also stand in each such chain that would drop it, known as ours by
// their comment. Nothing else of others is ever touched.
package nftables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	nft "github.com/google/nftables"

	"github.com/percale-net/percale/network/firewall"
)

// A Firewall writes the rules of one network namespace. Sync and Clear must
// not be called at once; Watch may run beside them.
type Firewall struct {
	table    string // whatever is in it is ours
	ns       *os.File
	noRandom bool // the kernel cannot masquerade with random ports
	stuck    stuck
	drops    []Drop
	flannel  []string
	heard    hearing
}

// stuck remembers what the kernel shows although we wrote something else, so
// that it is not written over and over.
type stuck struct{ have, want *content }

func (s stuck) is(o stuck) bool {
	return s != stuck{} && len(compare(s.have, o.have)) == 0 && len(compare(s.want, o.want)) == 0
}

// Open returns the firewall of a namespace: the path that stands for it, or ""
// for the one that the caller's thread is in. Instance names the table, and so
// tells ours from that of another agent on this host. Another namespace than
// that of this process needs CAP_SYS_ADMIN; everything needs CAP_NET_ADMIN.
func Open(ns, instance string) (*Firewall, error) {
	if ns == "" {
		ns = "/proc/thread-self/ns/net"
	}
	f, err := os.Open(ns)
	if err != nil {
		return nil, fmt.Errorf("open namespace: %w", err)
	}
	return &Firewall{table: instance, ns: f}, nil
}

// Close lets go of the namespace. The rules stay.
func (f *Firewall) Close() error { return f.ns.Close() }

// Name returns what settings and status call this kind of firewall.
func (f *Firewall) Name() string { return "nftables" }

// Sync makes the kernel hold exactly r, and says in words what was different
// before. When nothing was, it writes nothing. Otherwise the chains that differ
// are replaced in one transaction: each packet meets either the old rules or
// the new ones. Then each chain of others that drops what r forwards gets our
// rules in a transaction of its own; ForeignDrops tells where that is in vain.
func (f *Firewall) Sync(ctx context.Context, r firewall.Ruleset) (changed []string, err error) {
	changed, err = f.syncTable(ctx, r)
	more, moreErr := f.letThrough(ctx, r)
	return append(changed, more...), errors.Join(err, moreErr)
}

// syncTable does what Sync does to our own table.
func (f *Firewall) syncTable(ctx context.Context, r firewall.Ruleset) (changed []string, err error) {
	if f.noRandom {
		r = r.WithoutRandom()
	}
	changed, err = f.sync(ctx, r)
	if plain := r.WithoutRandom(); err != nil && isUnsupported(err) && plain.String() != r.String() {
		// Retried without, for kernels that do not know the flag.
		if again, plainErr := f.sync(ctx, plain); plainErr == nil {
			f.noRandom = true
			return append(again, "random-fully: this kernel cannot; ports are picked as it does by default"), nil
		}
	}
	return changed, err
}

// sync is syncTable for just these rules.
func (f *Firewall) sync(ctx context.Context, r firewall.Ruleset) (changed []string, err error) {
	socket, err := open(f.ns)
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	want := wanted(r)
	for tries := 0; ; tries++ { // one write, unless what is read then is not what was written
		if err := ctx.Err(); err != nil {
			return changed, err
		}
		have, err := read(socket, f.table)
		if err != nil {
			return changed, fmt.Errorf("read table %s: %w", f.table, err)
		}
		differ := compare(have, want)
		if len(differ) == 0 {
			return changed, nil
		}
		if now := (stuck{have, want}); tries == maxTries || f.stuck.is(now) {
			f.stuck = now
			return changed, fmt.Errorf("table %s does not stay as it was written (is another agent at work here?): %s", f.table, differ[0])
		}
		if err := f.write(r, have, want); err != nil {
			return nil, fmt.Errorf("write table %s: %w", f.table, err)
		}
		if changed == nil {
			changed = differ
		}
	}
}

// compare says how have differs from want, the table first, then each chain.
func compare(have, want *content) []string {
	switch {
	case have == nil && want == nil:
		return nil
	case have == nil:
		return []string{"table: missing"}
	case want == nil:
		return []string{"table: not wanted"}
	}
	var out []string
	if have.flags != want.flags {
		out = append(out, fmt.Sprintf("table: has flags %#x, want %#x", have.flags, want.flags))
	}
	for _, name := range slices.Sorted(maps.Keys(want.chains)) {
		w := want.chains[name]
		h, ok := have.chains[name]
		switch drift := firewall.Drift(h.rules, w.rules); {
		case !ok:
			out = append(out, "chain "+name+": missing")
		case h.head != w.head:
			out = append(out, fmt.Sprintf("chain %s: is %s, want %s", name, h.head, w.head))
		case drift != "":
			out = append(out, "chain "+name+": "+drift)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have.chains)) {
		if _, ok := want.chains[name]; !ok {
			out = append(out, "chain "+name+": not wanted")
		}
	}
	return out
}

// extends reports whether the table of have can be brought to want by giving
// chains new rules and by adding chains.
func extends(have, want *content) bool {
	if have == nil || want == nil || have.flags != want.flags {
		return false
	}
	for name, h := range have.chains {
		if w, ok := want.chains[name]; !ok || h.head != w.head {
			return false
		}
	}
	return true
}

// write replaces what differs in one transaction. Chains that are as wanted are
// kept, and only get new rules: at the switch from a deleted chain to one that
// is added in its place, a packet could for an instant pass between the two.
func (f *Firewall) write(r firewall.Ruleset, have, want *content) error {
	c, err := f.conn()
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	if !extends(have, want) {
		c.AddTable(f.nftTable()) // so that the deletion succeeds in any case
		c.DelTable(f.nftTable())
		have = nil
	}
	if want != nil {
		add(c, f.nftTable(), r, have)
	}
	return c.Flush()
}

// add adds to t the chains of r that have lacks, and gives those that differ
// new rules.
func add(c *nft.Conn, t *nft.Table, r firewall.Ruleset, have *content) {
	if have == nil {
		c.AddTable(t)
		have = new(content)
	}
	want := wanted(r)
	for _, ch := range r.Chains {
		b := base(ch.Hook)
		b.Table = t
		h, ok := have.chains[b.Name]
		switch {
		case !ok:
			c.AddChain(b)
		case slices.Equal(h.rules, want.chains[b.Name].rules):
			continue
		default:
			c.FlushChain(b)
		}
		for _, rule := range ch.Rules {
			c.AddRule(&nft.Rule{Table: t, Chain: b, Exprs: exprs(rule), UserData: comment(rule)})
		}
	}
}

// Clear removes our table, and our rules in chains of others. Absent ones are
// success, as is a kernel that has no tables at all.
func (f *Firewall) Clear(ctx context.Context) error {
	if _, err := f.Sync(ctx, firewall.Ruleset{}); err != nil && !isUnsupported(err) {
		return err
	}
	return nil
}
