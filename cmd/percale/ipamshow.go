// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/percale-net/percale/internal/addresses"
	"github.com/percale-net/percale/subnet/local"
)

// columns is how wide a screen is.
const columns = 100

// oldest is how many entries are shown unless all are wanted.
const oldest = 10

// A shown is what show answers. Its JSON form is stable.
type shown struct {
	Subnets  []shownSubnet  `json:"subnets"`
	Networks []shownNetwork `json:"networks"`
	Users    []shownUser    `json:"users"`   // most first
	Entries  []entry        `json:"entries"` // in order of address
	Odd      []shownOdd     `json:"odd"`     // files that make no sense

	at time.Time
}

type shownSubnet struct {
	Subnet   netip.Prefix `json:"subnet"`
	Used     uint64       `json:"used"`
	Total    uint64       `json:"total"` // that pods can have
	Free     uint64       `json:"free"`
	Resting  uint64       `json:"resting"` // of the free: freed within the last 30 seconds
	Stale    uint64       `json:"stale"`   // of the used: by sandboxes that no longer exist
	Reserved []netip.Addr `json:"reserved"`
}

type shownNetwork struct {
	Name string `json:"name"`
	Dir  string `json:"dir"`
	Here bool   `json:"here"` // percale-cni makes its ports in this network namespace
}

type shownUser struct {
	Name      string `json:"name"`
	Addresses int    `json:"addresses"`
}

type entry struct {
	Address   netip.Addr `json:"address"`
	Network   string     `json:"network"`
	Container string     `json:"container"`
	Ifname    string     `json:"ifname"`
	Pod       string     `json:"pod,omitempty"`
	Given     time.Time  `json:"given"`
	Port      string     `json:"port"`      // the node's end of its veth pair, as percale-cni names it
	PortThere bool       `json:"portThere"` // in this network namespace
	Sandbox   string     `json:"sandbox"`   // live, young, unknown or gone
}

type shownOdd struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

func showCommand(i *ipamFlags) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "How many addresses are used and free, by whom, since when",
		Long: "How many addresses are used and free, by whom, since when.\n" +
			"Of a sandbox that is live, the node's end of its interface is there, or it answers. One that is young\n" +
			"has none yet; of one that is unknown, another plugin's, nothing can be told; one that is gone has\n" +
			"none any more, and percale ipam gc frees its addresses.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := i.look(cmd.Context())
			if err != nil {
				return err
			}
			defer s.close()
			if s.noEnv != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "percale: this node's subnets are not known:", s.noEnv)
			}
			v := s.show()
			return i.show(cmd.OutOrStdout(), v, func(w io.Writer) { printAddresses(w, v, all) })
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "list all addresses, not only the oldest")
	return cmd
}

func (s *scene) show() shown {
	v := shown{Subnets: []shownSubnet{}, Networks: []shownNetwork{}, Users: []shownUser{}, Entries: []entry{}, Odd: []shownOdd{}, at: s.At}
	for _, p := range s.subnets {
		u := s.Use(p)
		v.Subnets = append(v.Subnets, shownSubnet{p, u.Used, u.Total, u.Free(), u.Resting, u.Gone, reservedOf(p)})
	}
	for _, n := range s.stores {
		v.Networks = append(v.Networks, shownNetwork{n.Network(), n.Dir(), s.here[n]})
	}
	for _, u := range s.users() {
		v.Users = append(v.Users, shownUser{u.Name, u.Addrs})
	}
	for _, a := range s.Attachments {
		for _, addr := range a.Addrs {
			v.Entries = append(v.Entries, entry{
				addr, a.Store.Network(), a.Owner.Container, a.Owner.Ifname, a.Pod, a.Given,
				a.Port, a.Holder.Port, string(a.Fate(s.At, addresses.Grace)),
			})
		}
	}
	slices.SortStableFunc(v.Entries, func(a, b entry) int { return a.Address.Compare(b.Address) })
	for _, o := range s.Odd {
		v.Odd = append(v.Odd, shownOdd{filepath.Join(o.Store.Dir(), o.Name), o.Why})
	}
	return v
}

// users returns the users of the first family, which tells them all.
func (s *scene) users() []addresses.User {
	if len(s.subnets) == 0 {
		return nil
	}
	return s.Users(s.subnets[0])
}

// reservedOf returns the addresses of a subnet that no pod gets.
func reservedOf(p netip.Prefix) []netip.Addr {
	all := []netip.Addr{p.Addr(), p.Addr().Next()}
	if p.Addr().Is4() {
		b := p.Addr().As4()
		for bit := p.Bits(); bit < 32; bit++ {
			b[bit/8] |= 0x80 >> (bit % 8)
		}
		all = append(all, netip.AddrFrom4(b))
	}
	return all
}

// printAddresses writes v in at most 100 columns where addresses and names let it.
func printAddresses(w io.Writer, v shown, all bool) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	for _, s := range v.Subnets {
		u := addresses.Use{Used: s.Used, Total: s.Total}
		line("subnet", "%s  %s used, %s", s.Subnet, u.Count(), freeOf(s))
		if s.Stale > 0 {
			line("", "%d of the used by sandboxes that are gone: percale ipam gc", s.Stale)
		}
		line("reserved", "%s", list(s.Reserved))
	}
	for _, n := range v.Networks {
		text := printable(n.Dir)
		if !n.Here {
			text += "  (no note that its ports are in this network namespace)"
		}
		line("network", "%s", text)
	}
	if biggest := usersOf(v.Users); biggest != "" {
		line("users", "%s", printable(biggest))
	}
	for _, o := range v.Odd {
		line("odd file", "%s: %s", printable(o.Path), printable(o.Why))
	}
	printEntries(w, v, all)
}

func freeOf(s shownSubnet) string {
	text := fmt.Sprintf("%d free", s.Free)
	if s.Total > 1<<32 {
		text = "the rest free"
	}
	if s.Resting > 0 {
		text += fmt.Sprintf(", %d of these cooling down (%s)", s.Resting, local.CoolDown)
	}
	return text
}

func usersOf(users []shownUser) string {
	var all []addresses.User
	for _, u := range users {
		all = append(all, addresses.User{Name: u.Name, Addrs: u.Addresses})
	}
	return addresses.Biggest(all)
}

func printEntries(w io.Writer, v shown, all bool) {
	list := v.Entries
	if !all && len(list) > oldest {
		list = slices.Clone(list)
		slices.SortStableFunc(list, func(a, b entry) int { return a.Given.Compare(b.Given) })
		list = list[:oldest]
	}
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ADDRESS\tCONTAINER\tIFNAME\tAGE\tSANDBOX\tPOD")
	room := podRoom(list)
	for _, e := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Address, addresses.Short(e.Container), printable(or(e.Ifname, "-")),
			ago(e.Given, v.at), e.Sandbox, cut(or(e.Pod, "-"), room))
	}
	t.Flush()
	if more := len(v.Entries) - len(list); more > 0 {
		fmt.Fprintf(w, "These are the oldest; %d more: percale ipam show --all\n", more)
	}
}

// podRoom returns how many columns are left for the pod's name, which is last.
func podRoom(list []entry) int {
	addr, ifname := len("ADDRESS"), len("IFNAME")
	for _, e := range list {
		addr, ifname = max(addr, len(e.Address.String())), max(ifname, len(e.Ifname))
	}
	return max(10, columns-addr-ifname-13-5-7-5*2)
}

// cut shortens a text to so many columns.
func cut(s string, room int) string {
	if len(s) <= room {
		return s
	}
	return strings.ToValidUTF8(s[:room-3], "") + "..."
}
