// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"context"
	"errors"
	"fmt"
	"os"

	nft "github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/firewall"
)

// letThrough makes the chains of others at the forward hook accept what r
// forwards, and says in words what was different before. It touches no rule but
// ours. A chain that cannot be changed does not stop the others; those that it
// knows not to help are among ForeignDrops afterwards.
func (f *Firewall) letThrough(ctx context.Context, r firewall.Ruleset) (changed []string, err error) {
	socket, err := open(f.ns)
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	want := letting(r)
	for tries := 0; ; tries++ { // one write, unless what is read then is not what was written
		if err := ctx.Err(); err != nil {
			return changed, err
		}
		gates, err := consistent(socket, func() ([]gate, error) { return f.gates(socket) })
		if err != nil {
			return changed, fmt.Errorf("read chains of others: %w", err)
		}
		f.drops = nil
		differ, errs := f.mend(socket, gates, want)
		switch {
		case len(differ) == 0 || len(errs) > 0 && tries == maxTries:
			return changed, errors.Join(errs...)
		case tries == maxTries:
			return changed, fmt.Errorf("rules do not stay as they were written (is another agent at work here?): %s", differ[0])
		case changed == nil && len(errs) == 0:
			changed = differ
		}
	}
}

// maxTries bounds how often one Sync writes the same.
const maxTries = 3

// mend writes into each gate what it lacks, and says what was different. What
// it failed to write is different still.
func (f *Firewall) mend(socket *os.File, gates []gate, want []firewall.Rule) (differ []string, errs []error) {
	for _, g := range gates {
		e := g.edit(want, markOf(f.table))
		var err error
		switch {
		case g.owned && len(e.inserts) > 0:
			err = f.left(socket, g, want, "it drops what is forwarded, and only the program that made it may change it while it runs")
		case len(e.changed) > 0:
			err = f.rewrite(g, e)
			if errors.Is(err, unix.EPERM) {
				err = f.left(socket, g, want, "it drops what is forwarded, and the kernel does not allow us to change it")
				break
			}
			differ = append(differ, e.changed...)
		}
		if err == nil && e.stuck {
			err = f.left(socket, g, want, "it leads all packets to a chain that drops those which its own rules do not accept")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("write %v: %w", g, err))
		}
	}
	return differ, errs
}

// rewrite makes an edit in one transaction.
func (f *Firewall) rewrite(g gate, e edit) error {
	c, err := f.conn()
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	families := map[byte]nft.TableFamily{
		unix.NFPROTO_IPV4: nft.TableFamilyIPv4, unix.NFPROTO_IPV6: nft.TableFamilyIPv6, unix.NFPROTO_INET: nft.TableFamilyINet,
	}
	table := &nft.Table{Name: g.table, Family: families[g.family.proto]}
	at := &nft.Chain{Name: g.name, Table: table}
	for _, in := range e.inserts {
		r := &nft.Rule{
			Table: table, Chain: at, Position: in.before,
			Exprs: g.exprs(in.rule), UserData: g.userdata(in.rule, markOf(f.table)),
		}
		if in.before != 0 {
			c.InsertRule(r)
		} else {
			c.AddRule(r)
		}
	}
	for _, handle := range e.deletes {
		if err := c.DelRule(&nft.Rule{Table: table, Chain: at, Handle: handle}); err != nil {
			return err
		}
	}
	return c.Flush()
}
