// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/percale-net/percale/internal/addresses"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/subnet/local"
)

// usualEnv is what the agent writes unless told otherwise.
const usualEnv = "/run/flannel/subnet.env"

// An ipamFlags is what the commands of that name look at. They need no agent, only
// the node's files and its network namespace.
type ipamFlags struct {
	*client
	dataDir    string
	network    string
	subnetFile string
}

func ipamCommand(c *client) *cobra.Command {
	i := &ipamFlags{client: c}
	cmd := &cobra.Command{
		Use:   "ipam",
		Short: "The pod addresses of this node: how many, whose, which are lost",
		Long: "The pod addresses of this node: how many, whose, which are lost.\n" +
			"Works on the files and the network namespace of the node, as root; no agent is needed.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&i.dataDir, "data-dir", "", "where addresses are kept (ipam.dataDir; default: what percale-cni noted, and "+local.DataDir+")")
	flags.StringVar(&i.network, "network", "", "look only at this network: a directory there (default: all)")
	flags.StringVar(&i.subnetFile, "subnet-file", "", "file that tells this node's subnets (default: what percale-cni noted, or "+usualEnv+")")
	cmd.AddCommand(showCommand(i), checkCommand(i), gcCommand(i), releaseCommand(i))
	return cmd
}

// A scene is what the commands see.
type scene struct {
	addresses.View
	host    *kernel.Conn
	stores  []local.Store
	here    map[local.Store]bool // percale-cni makes their ports in this namespace
	subnets []netip.Prefix
	noEnv   error // why the subnets are not known
}

// look sees the node. The caller closes the scene.
func (i *ipamFlags) look(ctx context.Context) (*scene, error) {
	if _, err := i.asJSON(); err != nil {
		return nil, err
	}
	s := &scene{here: make(map[local.Store]bool)}
	place, err := local.Here()
	if err != nil {
		return nil, err
	}
	noted, err := local.Noted(i.runDir, place)
	if err != nil {
		return nil, err
	}
	for _, n := range noted {
		s.here[n.Store] = true
	}
	if s.stores, err = i.stores(noted); err != nil {
		return nil, forRoot(err)
	}
	s.subnets, s.noEnv = i.subnets(noted)
	if s.host, err = kernel.Open(""); err != nil {
		return nil, forRoot(fmt.Errorf("reach the kernel: %w", err))
	}
	s.View, err = addresses.Look(ctx, s.host, s.stores, func(store local.Store) bool { return s.here[store] })
	if err != nil {
		return nil, forRoot(errors.Join(err, s.host.Close()))
	}
	return s, nil
}

func (s *scene) close() { _ = s.host.Close() } // nothing is lost by a failure

// stores returns those that the flags name.
func (i *ipamFlags) stores(noted []local.Network) ([]local.Store, error) {
	all, err := local.Stores(i.dataDir)
	if err != nil {
		return nil, err
	}
	if i.dataDir == "" {
		for _, n := range noted {
			if !slices.Contains(all, n.Store) {
				all = append(all, n.Store)
			}
		}
	} else if _, err := os.Stat(i.dataDir); err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	if i.network == "" {
		return all, nil
	}
	one := slices.DeleteFunc(slices.Clone(all), func(s local.Store) bool { return s.Network() != i.network })
	if len(one) == 0 {
		return nil, fmt.Errorf("no addresses are kept of a network %q: there are %s", i.network, or(names(all), "none of any"))
	}
	return one, nil
}

// subnets returns this node's subnets, as the agents have told percale-cni.
func (i *ipamFlags) subnets(noted []local.Network) (all []netip.Prefix, err error) {
	files := []string{i.subnetFile}
	for _, n := range noted {
		if i.subnetFile == "" && !slices.Contains(files, n.SubnetFile) && (i.network == "" || i.network == n.Store.Network()) {
			files = append(files, n.SubnetFile)
		}
	}
	if files[0] == "" && len(files) == 1 {
		files[0] = usualEnv
	}
	var errs []error
	for _, file := range slices.DeleteFunc(files, func(f string) bool { return f == "" }) {
		env, err := local.ReadEnv(file)
		errs = append(errs, err)
		for _, p := range env.Subnets() {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return all, errors.Join(errs...)
}

func names(stores []local.Store) string {
	var text string
	for n, s := range stores {
		if n > 0 {
			text += ", "
		}
		text += s.Network()
	}
	return text
}

func forRoot(err error) error {
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		return fmt.Errorf("%w: try sudo percale", err)
	}
	return err
}

// inSubnets reports whether an address is of this node; yes if that is not known.
func (s *scene) inSubnets(a netip.Addr) bool {
	return len(s.subnets) == 0 || slices.ContainsFunc(s.subnets, func(p netip.Prefix) bool { return p.Contains(a) })
}

// whose names the owner of addresses: "container 0123456789abc, eth0 (ci/build-7)".
func whose(a addresses.Attachment) string {
	text := "container " + addresses.Short(a.Owner.Container)
	if a.Owner.Ifname != "" {
		text += ", " + a.Owner.Ifname
	}
	if a.Pod != "" {
		text += " (" + a.Pod + ")"
	}
	return printable(text)
}

func ago(t, now time.Time) string { return addresses.Lasting(max(now.Sub(t), 0)) }
