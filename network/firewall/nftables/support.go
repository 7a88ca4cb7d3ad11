// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/firewall"
)

// Supported returns nil if the kernel can do all that a Ruleset may ask for in
// namespace ns (as in Open): one table for both families with filter, raw and
// NAT chains (Linux 5.2), masquerade and notrack. It changes nothing.
func Supported(ns string) error {
	f, err := Open(ns, "percale-check")
	if err != nil {
		return err
	}
	defer f.Close()
	// Asked before a transaction is sent: a kernel without nftables answers that
	// in fewer words than the library waits for.
	socket, err := open(f.ns)
	if err != nil {
		return fmt.Errorf("check nftables: %w", err)
	}
	defer socket.Close()
	if _, err := generation(socket); err != nil {
		return fmt.Errorf("check nftables: %w", err)
	}
	c, err := f.conn()
	if err != nil {
		return fmt.Errorf("check nftables: %w", err)
	}
	defer c.CloseLasting()
	// A transaction that could be carried out but for its last message, so that
	// none of it is: the table exists by then.
	probe := f.nftTable()
	add(c, probe, firewall.Rules(firewall.Config{
		Families: []firewall.Pods{
			{Network: netip.MustParsePrefix("192.0.2.0/24"), Subnet: netip.MustParsePrefix("192.0.2.0/25")},
			{Network: netip.MustParsePrefix("2001:db8::/32"), Subnet: netip.MustParsePrefix("2001:db8::/64")},
		},
		Masquerade: true, Forward: true, TunnelPort: 8472,
	}), nil)
	c.CreateTable(probe)
	err = c.Flush()
	if errs := leaves(err); len(errs) == 1 && errors.Is(errs[0], unix.EEXIST) {
		return nil
	}
	if !isUnsupported(err) {
		return fmt.Errorf("check nftables: %w", err)
	}
	return fmt.Errorf("check nftables: this kernel lacks inet tables with NAT, masquerade and notrack: %w", err)
}

// leaves returns the errors that err was made of.
func leaves(err error) []error {
	switch e := err.(type) {
	case nil:
		return nil
	case interface{ Unwrap() []error }:
		var out []error
		for _, err := range e.Unwrap() {
			out = append(out, leaves(err)...)
		}
		return out
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return leaves(inner)
		}
	}
	return []error{err}
}

// isUnsupported reports whether err may mean that the kernel lacks something.
func isUnsupported(err error) bool {
	return slices.ContainsFunc([]error{unix.EOPNOTSUPP, unix.EINVAL, unix.ENOENT, unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT},
		func(e error) bool { return errors.Is(err, e) })
}
