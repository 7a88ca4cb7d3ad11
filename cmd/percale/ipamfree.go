// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/spf13/cobra"

	"github.com/percale-net/percale/internal/addresses"
	"github.com/percale-net/percale/subnet/ipam"
	"github.com/percale-net/percale/subnet/local"
)

// A freed is what gc and release answer: what they did. The JSON form is stable.
type freed struct {
	DryRun bool    `json:"dryRun"`
	Freed  []entry `json:"freed"`
}

func gcCommand(i *ipamFlags) *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Free the addresses of sandboxes that are gone",
		Long: "Free the addresses of sandboxes that are gone: given by percale-cni in this network namespace more than\n" +
			"a minute ago, without an interface on this node, and silent. percaled does so by itself after ten\n" +
			"minutes (--sweep-addresses).\nExit status: 0 done, 2 could not.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := i.look(cmd.Context())
			if err != nil {
				return err
			}
			defer s.close()
			if len(s.stores) > 0 && !slices.ContainsFunc(s.stores, func(n local.Store) bool { return s.here[n] }) {
				return fmt.Errorf("nothing says that the ports of these pods are in this network namespace, so none is known to be gone. "+
					"Run it on the node itself (nsenter -t 1 -n percale ipam gc). There, percale-cni notes it in %s with the next pod", i.runDir)
			}
			did, err := s.gc(cmd.Context(), dry)
			return errors.Join(i.show(cmd.OutOrStdout(), did, func(w io.Writer) { printFreed(w, s, did) }), err)
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would be freed, and free nothing")
	return cmd
}

// gc frees what is gone. What fails does not keep the others.
func (s *scene) gc(ctx context.Context, dry bool) (freed, error) {
	did := freed{DryRun: dry, Freed: []entry{}}
	var errs []error
	for _, a := range s.Gone(addresses.Grace) {
		ok := dry
		if !dry {
			var err error
			if ok, err = addresses.Free(ctx, s.host, a); err != nil {
				errs = append(errs, fmt.Errorf("free %s: %w", list(a.Addrs), err))
			}
		}
		if ok {
			did.Freed = append(did.Freed, s.entriesOf(a)...)
		}
	}
	return did, errors.Join(errs...)
}

func (s *scene) entriesOf(a addresses.Attachment) []entry {
	one := scene{View: addresses.View{At: s.At, Attachments: []addresses.Attachment{a}}}
	return one.show().Entries
}

func printFreed(w io.Writer, s *scene, did freed) {
	verb := "freed"
	if did.DryRun {
		verb = "would free"
	}
	for _, e := range did.Freed {
		text := fmt.Sprintf("%s %s  container %s, %s", verb, e.Address, addresses.Short(e.Container), or(e.Ifname, "any interface"))
		if e.Pod != "" {
			text += ", " + e.Pod
		}
		fmt.Fprintf(w, "%s, given %s ago\n", printable(text), ago(e.Given, s.At))
	}
	fmt.Fprintf(w, "%s %s\n", verb, count(len(did.Freed), "address", "addresses"))
}

func releaseCommand(i *ipamFlags) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "release ADDRESS",
		Short: "Free the addresses of the sandbox that has this one",
		Long: "Free the addresses of the sandbox that has this one, of both families. Refused while it may be there:\n" +
			"an address that is freed under a pod is given to another one too.\nExit status: 0 done, 2 refused.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			addr, err := netip.ParseAddr(args[0])
			if err != nil {
				return fmt.Errorf("%.60q: want an address such as 10.42.7.9", args[0])
			}
			s, err := i.look(cmd.Context())
			if err != nil {
				return err
			}
			defer s.close()
			did, err := s.release(cmd.Context(), addr, force)
			if err != nil {
				return err
			}
			return i.show(cmd.OutOrStdout(), did, func(w io.Writer) { printFreed(w, s, did) })
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "free it though its sandbox may be there")
	return cmd
}

func (s *scene) release(ctx context.Context, addr netip.Addr, force bool) (freed, error) {
	var holders []addresses.Attachment
	for _, a := range s.Attachments {
		if slices.Contains(a.Addrs, addr) {
			holders = append(holders, a)
		}
	}
	switch {
	case len(holders) == 0:
		return s.discard(ctx, addr, force)
	case len(holders) > 1:
		return freed{}, fmt.Errorf("%s is given in several networks: say with --network in which to release it", addr)
	}
	a := holders[0]
	if why := s.objection(a); why != "" && !force {
		return freed{}, fmt.Errorf("release %s: %s. Delete its pod (crictl rmp), or --force", addr, why)
	}
	free := func() (bool, error) { return addresses.Force(ctx, a) }
	if !force {
		free = func() (bool, error) { return addresses.Free(ctx, s.host, a) }
	}
	ok, err := free()
	if err != nil {
		return freed{}, forRoot(err)
	}
	if !ok {
		return freed{}, fmt.Errorf("release %s: it has changed hands in this moment: percale ipam show", addr)
	}
	return freed{Freed: s.entriesOf(a)}, nil
}

// objection says why an address should not be released; "" for no reason.
func (s *scene) objection(a addresses.Attachment) string {
	switch a.Fate(s.At, addresses.Grace) {
	case ipam.Gone:
		return ""
	case ipam.Young:
		return fmt.Sprintf("it was given only %s ago, to %s, which may be about to use it", ago(a.Given, s.At), whose(a))
	case ipam.Live:
		if a.Holder.Port {
			return fmt.Sprintf("%s is there: %s is its port", whose(a), a.Port)
		}
		return whose(a) + " is there: it answers"
	}
	return fmt.Sprintf("%s may be there: percale-cni did not give the address in this network namespace, so its port is not known", whose(a))
}

// discard releases an address whose file makes no sense.
func (s *scene) discard(ctx context.Context, addr netip.Addr, force bool) (freed, error) {
	for _, o := range s.Odd {
		if o.Name != addr.String() {
			continue
		}
		if !force {
			return freed{}, fmt.Errorf("release %s: its file does not say whose it is (%s): make sure that no pod has it, then --force", addr, printable(o.Why))
		}
		if ok, err := o.Store.Discard(ctx, addr); err != nil || !ok {
			return freed{}, forRoot(errors.Join(err, fmt.Errorf("release %s: not done: percale ipam show", addr)))
		}
		return freed{Freed: []entry{{Address: addr, Network: o.Store.Network(), Given: s.At, Sandbox: string(ipam.Unknown)}}}, nil
	}
	return freed{}, fmt.Errorf("release %s: no pod of this node has it: percale ipam show --all", addr)
}
