// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sync/errgroup"
)

// A Cell is what one pod found on its way to another, in one direction.
type Cell struct {
	From, To string   // pods, without the lab's name: n1-p1
	Faults   []string // such as "df" or "tcp6"; none: all is well
	Why      []string // one sentence for each fault
}

// A Proof is the result of Prove.
type Proof struct {
	Pods  []string // in order
	Cells map[[2]string]Cell
	MTU   int // bytes: the largest packet that was sent, never fragmented
}

// Bad returns the cells with a fault, in order of the pods.
func (p Proof) Bad() []Cell {
	var bad []Cell
	for _, from := range p.Pods {
		for _, to := range p.Pods {
			if c := p.Cells[[2]string{from, to}]; len(c.Faults) > 0 {
				bad = append(bad, c)
			}
		}
	}
	return bad
}

// Prove sends traffic from every pod to every other of its network, and says
// for each pair and direction what does not work. It fails only where it cannot
// ask.
func (l *Lab) Prove(ctx context.Context) (Proof, error) {
	pods := l.Pods()
	servers := make([]*server, len(pods))
	proof := Proof{Cells: make(map[[2]string]Cell)}
	for i, p := range pods {
		s, err := serve(p, provePort)
		if err != nil {
			return Proof{}, fmt.Errorf("listen in pod %s: %w", p.Name, err)
		}
		defer s.close()
		servers[i] = s
		proof.Pods = append(proof.Pods, l.short(p))
		proof.MTU = max(proof.MTU, s.mtu)
	}
	cells := make([]Cell, len(pods)*len(pods))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, from := range servers {
		for j, to := range servers {
			if i == j || from.pod.Network != to.pod.Network {
				continue
			}
			g.Go(func() error {
				cells[i*len(pods)+j] = l.probe(ctx, from, to)
				return ctx.Err()
			})
		}
	}
	if err := g.Wait(); err != nil {
		return Proof{}, err
	}
	for _, c := range cells {
		if c.From != "" {
			proof.Cells[[2]string{c.From, c.To}] = c
		}
	}
	return proof, nil
}

// short is what a matrix calls a pod.
func (l *Lab) short(p Pod) string { return strings.TrimPrefix(p.Name, l.Name()+"-") }

// probe tries everything from one pod to another, in each family.
func (l *Lab) probe(ctx context.Context, from, to *server) Cell {
	c := Cell{From: l.short(from.pod), To: l.short(to.pod)}
	for _, dst := range to.pod.Addrs {
		family := ""
		if len(to.pod.Addrs) > 1 && dst.Is6() {
			family = "6"
		}
		src, err := from.address(dst)
		if err != nil {
			c.add("addr"+family, err)
			continue
		}
		w := way{from: from, src: src, dst: netip.AddrPortFrom(dst, provePort)}
		for _, t := range []struct {
			name string
			try  func(context.Context) error
		}{{"udp", w.small}, {"df", w.full}, {"tcp", w.tcp}} {
			err := t.try(ctx)
			switch {
			case errors.Is(err, errSource):
				c.add("src"+family, err)
			case err != nil:
				c.add(t.name+family, err)
			}
		}
	}
	return c
}

func (c *Cell) add(fault string, err error) {
	c.Faults = append(c.Faults, fault)
	c.Why = append(c.Why, err.Error())
}
