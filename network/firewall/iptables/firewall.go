// SPDX-License-Identifier: Apache-2.0

// Package iptables makes the kernel hold a firewall.Ruleset as chains named
// PERCALE-* in the tables raw, filter and nat, for IPv4 and IPv6. It runs
// iptables-save and iptables-restore, of whichever variant (legacy or
// nf_tables) PATH leads to, in the network namespace of the caller's thread.
//
// The jump from FORWARD is put first. It may move down, as other agents put
// theirs before it, but must stay before any rule that drops or rejects by
// itself. The other jumps are appended: kube-proxy's, which come before, do
// not end a packet's way that is ours to decide.
package iptables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/percale-net/percale/network/firewall"
)

// A Firewall writes the rules of the network namespace of the thread that calls
// it. Sync and Clear must not be called at once; Watch may run beside them.
type Firewall struct {
	mark    mark
	variant string
	tools   map[firewall.Family]tool
	shows   map[string][]string // how the tool lists rules that it did not list as we write them
}

// Open returns the firewall of the iptables that PATH leads to. It need not be
// installed yet. Instance tells our chains from those of another agent on this
// host: for "percale" they are named PERCALE-*.
func Open(instance string) *Firewall { return OpenVariant(instance, "") }

// OpenVariant is like Open for one variant: "legacy" or "nft".
func OpenVariant(instance, variant string) *Firewall {
	return &Firewall{mark: markOf(instance), variant: variant, tools: make(map[firewall.Family]tool), shows: make(map[string][]string)}
}

// Supported returns nil if iptables is installed, else ErrNoTool.
func Supported() error {
	_, err := find(firewall.IPv4, "")
	return err
}

// Close does nothing; it makes a Firewall like the other kind.
func (f *Firewall) Close() error { return nil }

// Name returns what settings and status call this kind of firewall.
func (f *Firewall) Name() string { return "iptables" }

// Sync makes the kernel hold exactly r, and says in words what was different
// before. When nothing was, it writes nothing. Otherwise each table that
// differs gets what it lacks in one transaction. One family's failure does not
// stop the other. ErrNoTool if a family that r has rules for has no tool.
func (f *Firewall) Sync(ctx context.Context, r firewall.Ruleset) (changed []string, err error) {
	var errs []error
	for _, fam := range [...]firewall.Family{firewall.IPv4, firewall.IPv6} {
		used := slices.Contains(r.Families(), fam)
		c, err := f.family(ctx, r, fam)
		if err != nil && used {
			errs = append(errs, fmt.Errorf("IPv%d rules: %w", fam, err))
		}
		for _, s := range c {
			changed = append(changed, fmt.Sprintf("IPv%d %s", fam, s))
		}
	}
	return changed, errors.Join(errs...)
}

// Clear removes our chains and the jumps to them. Absent ones are success, and
// so is an absent iptables: rules that it made would be out of our reach.
func (f *Firewall) Clear(ctx context.Context) error {
	var errs []error
	for _, fam := range [...]firewall.Family{firewall.IPv4, firewall.IPv6} {
		if _, err := f.family(ctx, firewall.Ruleset{}, fam); err != nil && !errors.Is(err, ErrNoTool) {
			errs = append(errs, fmt.Errorf("clear IPv%d rules: %w", fam, err))
		}
	}
	return errors.Join(errs...)
}

func (f *Firewall) family(ctx context.Context, r firewall.Ruleset, fam firewall.Family) (changed []string, err error) {
	t, ok := f.tools[fam]
	if !ok {
		if t, err = find(fam, f.variant); err != nil {
			return nil, err
		}
		f.tools[fam] = t
	}
	if plain := r.WithoutRandom(); !t.random && plain.String() != r.String() {
		r = plain
		defer func() {
			if changed != nil {
				changed = append(changed, "random-fully: "+t.version+" cannot; ports are picked as it does by default")
			}
		}()
	}
	wants := f.mark.wanted(r, fam)
	differ, err := f.write(ctx, t, wants)
	if err != nil || differ == nil {
		return differ, err
	}
	left, err := f.verify(ctx, t, wants)
	if err == nil && left != nil {
		err = fmt.Errorf("rules do not stay as they were written (is another agent at work here?): %s", left[0])
	}
	return differ, err
}

// write brings each table up to what is wanted, and says what was different.
func (f *Firewall) write(ctx context.Context, t tool, wants []place) ([]string, error) {
	have, err := t.list(ctx)
	if err != nil {
		return nil, err
	}
	var changed []string
	var errs []error
	for _, name := range [...]string{"raw", "filter", "nat"} {
		here := f.in(name, wants)
		if len(here) > 0 && slices.Contains(have.hidden, name) {
			errs = append(errs, fmt.Errorf("table %s has rules that iptables cannot show: remove them with nft, or remove \"Firewall\": \"iptables\"", name))
			continue
		}
		s := f.mark.plan(name, have.tables[name], here)
		if len(s.changed) == 0 {
			continue
		}
		if err := t.apply(ctx, s.text(name)); err != nil {
			errs = append(errs, fmt.Errorf("write table %s: %w", name, err))
			continue
		}
		changed = append(changed, s.changed...)
	}
	return changed, errors.Join(errs...)
}

// verify reads back what was written, and says what is not as wanted. Where a
// tool lists the same rules in other words than we write them, it learns those.
func (f *Firewall) verify(ctx context.Context, t tool, wants []place) (left []string, err error) {
	have, err := t.list(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range wants {
		if got := have.tables[p.table][p.chain]; !slices.Equal(got, p.rules) && sameComments(got, p.rules) {
			f.shows[p.key()] = got
		}
	}
	for _, name := range [...]string{"raw", "filter", "nat"} {
		left = append(left, f.mark.plan(name, have.tables[name], f.in(name, wants)).changed...)
	}
	return left, nil
}

// in returns the places of one table, with what is known of how they are listed.
func (f *Firewall) in(table string, wants []place) []place {
	var out []place
	for _, p := range wants {
		if p.table == table {
			p.shows = f.shows[p.key()]
			out = append(out, p)
		}
	}
	return out
}

func (p place) key() string { return p.table + " " + p.chain + "\n" + strings.Join(p.rules, "\n") }

// sameComments reports whether two lists have rules with the same comments and
// targets in the same order: then they are the same rules, but for how other
// versions write them.
func sameComments(a, b []string) bool {
	return slices.EqualFunc(a, b, func(a, b string) bool {
		return verdict(a) == verdict(b) && after(words(a), "--comment") == after(words(b), "--comment")
	})
}

func after(words []string, flag string) string {
	if i := slices.Index(words, flag); i >= 0 && i+1 < len(words) {
		return words[i+1]
	}
	return ""
}
