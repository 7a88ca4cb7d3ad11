// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// An outcome is what one fault did in one mode.
type outcome struct {
	fault  string
	lost   []int // packets, one number per address family
	healed time.Duration
	err    error // why it counts as not healed
}

// A report collects outcomes; its methods may be called concurrently.
type report struct {
	mu  sync.Mutex
	all map[string]map[string]outcome // by fault, then mode
}

func (r *report) add(m mode, o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = make(map[string]map[string]outcome)
	}
	if r.all[o.fault] == nil {
		r.all[o.fault] = make(map[string]outcome)
	}
	r.all[o.fault][m.name] = o
}

// table shows the outcomes of a suite, fault by fault.
func (r *report) table(s suite) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "fault\tmode\tpackets lost\ttime to heal")
	for _, f := range s.faults {
		for _, m := range s.modes {
			if o, ok := r.all[f.name][m.name]; ok {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", o.fault, m.name, o.losses(), o.time())
			}
		}
	}
	w.Flush()
	return b.String()
}

func (o outcome) losses() string {
	names := []string{"IPv4 %d", "IPv6 %d"}
	var words []string
	for i, n := range o.lost {
		words = append(words, fmt.Sprintf(names[i], n))
	}
	return strings.Join(words, ", ")
}

func (o outcome) time() string {
	if o.err != nil {
		return "NOT HEALED"
	}
	return o.healed.Round(time.Millisecond).String()
}
