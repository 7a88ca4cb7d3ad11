// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/netip"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/percale-net/percale/internal/addresses"
	"github.com/percale-net/percale/subnet/ipam"
)

// A checked is what check answers. Its JSON form is stable.
type checked struct {
	Checked  int     `json:"checked"`  // addresses
	Unknown  int     `json:"unknown"`  // of these: nothing can be told of their sandboxes
	Problems []fault `json:"problems"` // empty: none
}

// A fault is one thing that is wrong.
type fault struct {
	Kind   string `json:"kind"` // gone, twice, several, outside or odd
	Seen   string `json:"seen"`
	Owner  string `json:"owner,omitempty"` // of the address
	Remedy string `json:"remedy"`
}

func checkCommand(i *ipamFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Find addresses of sandboxes that are gone, given twice, or without sense",
		Long:  "Find addresses of sandboxes that are gone, given twice, or without sense.\nExit status: 0 none, 1 some, 2 could not look.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := i.look(cmd.Context())
			if err != nil {
				return err
			}
			defer s.close()
			c := s.check()
			if err := i.show(cmd.OutOrStdout(), c, func(w io.Writer) { printCheck(w, c) }); err != nil {
				return err
			}
			if len(c.Problems) > 0 {
				return errProblem
			}
			return nil
		},
	}
}

func (s *scene) check() checked {
	c := checked{Problems: []fault{}}
	add := func(kind, seen, owner, remedy string) {
		c.Problems = append(c.Problems, fault{kind, printable(seen), owner, printable(remedy)})
	}
	first := make(map[netip.Addr]addresses.Attachment)
	for _, a := range s.Attachments {
		c.Checked += len(a.Addrs)
		fate := a.Fate(s.At, addresses.Grace)
		owner := fmt.Sprintf("%s, given %s ago", whose(a), ago(a.Given, s.At))
		if fate == ipam.Unknown {
			c.Unknown += len(a.Addrs)
		}
		if fate == ipam.Gone {
			add("gone", list(a.Addrs)+": its sandbox is gone", owner, "percale ipam gc")
		}
		if most := inOneFamily(a.Addrs); most > 1 {
			add("several", fmt.Sprintf("%s: %d addresses of one family for one interface", list(a.Addrs), most), owner,
				"delete the pod; percale ipam release frees what is left of it")
		}
		for _, addr := range a.Addrs {
			if other, ok := first[addr]; ok {
				add("twice", fmt.Sprintf("%s: given twice, in %s and in %s", addr, other.Store.Network(), a.Store.Network()),
					whose(other)+" and "+whose(a), "delete both pods, and keep the networks' addresses apart (ipam.ranges)")
				continue
			}
			first[addr] = a
			if fate != ipam.Gone && !s.inSubnets(addr) {
				add("outside", fmt.Sprintf("%s: outside of this node's %s: other nodes cannot reach it", addr, list(s.subnets)), owner,
					"delete the pod, so that it gets an address of the present subnet")
			}
		}
	}
	for _, o := range s.Odd {
		path := filepath.Join(o.Store.Dir(), o.Name)
		add("odd", path+": "+o.Why, "", remedyOf(o, path))
	}
	return c
}

func remedyOf(o addresses.Odd, path string) string {
	if addr, err := netip.ParseAddr(o.Name); err == nil {
		return "percale ipam release --force " + addr.String()
	}
	return "look at it, and remove it: " + path
}

// inOneFamily returns how many addresses there are of the family with most.
func inOneFamily(addrs []netip.Addr) int {
	v4 := 0
	for _, a := range addrs {
		if a.Is4() {
			v4++
		}
	}
	return max(v4, len(addrs)-v4)
}

func printCheck(w io.Writer, c checked) {
	for _, p := range c.Problems {
		fmt.Fprintln(w, p.Seen)
		if p.Owner != "" {
			fmt.Fprintln(w, "    "+p.Owner)
		}
		fmt.Fprintln(w, "    "+p.Remedy)
	}
	fmt.Fprintf(w, "%s checked, %s", count(c.Checked, "address", "addresses"), count(len(c.Problems), "problem", "problems"))
	if c.Unknown > 0 {
		fmt.Fprintf(w, "; nothing is known of %d that percale-cni did not give here", c.Unknown)
	}
	fmt.Fprintln(w)
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
