// SPDX-License-Identifier: Apache-2.0

package podmasq

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Table is the name of the table, of family inet.
const Table = "percale-pods"

// ErrNoNFTables says that this kernel has no nftables, or will not let us use
// them. The agent can masquerade instead, with iptables.
var ErrNoNFTables = errors.New("the kernel offers no nftables")

// timeout bounds one exchange with the kernel, which answers at once or, when
// it refuses a whole transaction, less often than asked.
const timeout = 10 * time.Second

// chunk is how many pods one transaction ends the masquerading of: an attribute
// takes 64 kB.
const chunk = 1000

// Add masquerades what the pods send to addresses outside the networks, in the
// network namespace of the calling thread, and makes the rules as needed. It
// may be repeated, and several processes may do so at once; the networks of
// the last one hold for all pods.
func Add(pods []netip.Addr, networks []netip.Prefix) error {
	c, err := dial()
	if err != nil {
		return fmt.Errorf("masquerade pod: %w", err)
	}
	defer c.CloseLasting()
	there, err := exists(c)
	if err != nil {
		return fmt.Errorf("masquerade pod: %w", err)
	}
	t := newTable(networks)
	if there && t.complete(c) {
		// Making rules anew takes many times as long, since the kernel waits
		// until no packet meets the old ones.
		err := errors.Join(t.elements(pods, c.SetAddElements), c.Flush())
		if !errors.Is(err, unix.ENOENT) { // the table has just gone
			return within("masquerade pod", err)
		}
	}
	err = errors.Join(t.define(c), t.elements(pods, c.SetAddElements), c.Flush())
	return within("masquerade pod", explain(err, unix.ENOENT)) // ENOENT: the module of chains for NAT is missing
}

// within adds to an error what was being done.
func within(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Del ends what Add began for the pods. What is not there is success.
func Del(pods []netip.Addr) error {
	if len(pods) == 0 {
		return nil
	}
	c, err := dial()
	if errors.Is(err, ErrNoNFTables) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("end masquerading of pod: %w", err)
	}
	defer c.CloseLasting()
	there, err := exists(c)
	if errors.Is(err, ErrNoNFTables) || err == nil && !there {
		return nil
	}
	if err != nil {
		return fmt.Errorf("end masquerading of pod: %w", err)
	}
	t := newTable(nil)
	for part := range slices.Chunk(pods, chunk) {
		// Deleting what is not there would fail the whole transaction: add it first.
		err = errors.Join(t.elements(part, c.SetAddElements), t.elements(part, c.SetDeleteElements), c.Flush())
		if err != nil && !errors.Is(err, unix.ENOENT) { // the table has just gone
			return fmt.Errorf("end masquerading of pod: %w", err)
		}
	}
	return nil
}

// Missing returns those of the pods that are not masqueraded. Rules that were
// changed or deleted by hand are not noticed.
func Missing(pods []netip.Addr) ([]netip.Addr, error) {
	have, err := list()
	if err != nil {
		return nil, fmt.Errorf("look up masqueraded pods: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(pods), func(a netip.Addr) bool { return slices.Contains(have, a) }), nil
}

// Pods returns all that is masqueraded; nothing where the kernel offers no
// nftables.
func Pods() ([]netip.Addr, error) {
	pods, err := list()
	if errors.Is(err, ErrNoNFTables) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list masqueraded pods: %w", err)
	}
	return pods, nil
}

func list() ([]netip.Addr, error) {
	c, err := dial()
	if err != nil {
		return nil, err
	}
	defer c.CloseLasting()
	if there, err := exists(c); err != nil || !there {
		return nil, err
	}
	var pods []netip.Addr
	for _, s := range newTable(nil).sets {
		elements, err := c.GetSetElements(s)
		if err != nil && !errors.Is(err, unix.ENOENT) { // the table has just gone
			return nil, err
		}
		for _, e := range elements {
			if a, ok := netip.AddrFromSlice(e.Key); ok {
				pods = append(pods, a)
			}
		}
	}
	return pods, nil
}

// exists reports whether our table is there. It is asked before a transaction
// is sent: a kernel without nftables answers that in fewer words than the
// library waits for.
func exists(c *nftables.Conn) (bool, error) {
	_, err := c.ListTableOfFamily(Table, nftables.TableFamilyINet)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, explain(err, unix.EINVAL) // EINVAL: no such part of netfilter
}

// dial connects to the namespace of the calling thread.
func dial() (*nftables.Conn, error) {
	c, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		return c.SetDeadline(time.Now().Add(timeout))
	}))
	if err != nil {
		return nil, explain(err)
	}
	return c, nil
}

// explain adds ErrNoNFTables to err if it is one of those, or one that only a
// kernel without nftables gives.
func explain(err error, those ...error) error {
	for _, none := range append(those, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT) {
		if errors.Is(err, none) {
			return fmt.Errorf("%w: %w", ErrNoNFTables, err)
		}
	}
	return err
}
