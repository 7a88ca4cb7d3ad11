// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/addresses"
	"github.com/percale-net/percale/subnet/local"
)

// roundOf is a look at n pods of 10.42.7.0/24, one of each container.
func roundOf(at time.Time, n int) addresses.Round {
	r := addresses.Round{Known: true, View: addresses.View{At: at}}
	a := netip.MustParseAddr("10.42.7.1")
	for i := range n {
		a = a.Next()
		r.Attachments = append(r.Attachments, addresses.Attachment{Holding: local.Holding{
			Owner: local.Owner{Container: fmt.Sprint("c", i)}, Addrs: []netip.Addr{a}, Pod: "ci/x",
		}})
	}
	return r
}

func TestExhaustionIsToldInTime(t *testing.T) {
	t.Parallel()
	subnets := []netip.Prefix{netip.MustParsePrefix("10.42.7.0/24")}
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var b addressBook
	if uses, notes, full := b.count(addresses.Round{}, subnets); uses != nil || notes != nil || full != nil {
		t.Errorf("of what is not known: %v, %v, %v; want nothing", uses, notes, full)
	}
	for n := 180; n < 253; n++ { // one a minute
		at = at.Add(time.Minute)
		uses, notes, full := b.count(roundOf(at, n), subnets)
		if n < 203 && notes != nil || n >= 203 && len(notes) != 1 || full != nil || len(uses) != 1 || uses[0].Used != uint64(n) {
			t.Fatalf("with %d pods: %v, %v, %v; want a note from 203 on", n, uses, notes, full)
		}
		if left := uses[0].FullAt.Sub(at); n >= 203 && (left-time.Duration(253-n)*time.Minute).Abs() > time.Second {
			t.Errorf("with %d pods: full in %s; want %d minutes", n, left, 253-n)
		}
		if n == 205 {
			want := "subnet 10.42.7.0/24 is 81 % used: 205 of 253; biggest users: ci 205; at the present rate full in "
			if !strings.HasPrefix(notes[0], want) {
				t.Errorf("note = %q; want %q…", notes[0], want)
			}
		}
	}
	uses, notes, full := b.count(roundOf(at.Add(time.Minute), 253), subnets)
	if full == nil || !strings.HasPrefix(full.Error(), "subnet 10.42.7.0/24 is full: 253 of 253 used; biggest users: ci 253. New pods of this node fail") ||
		notes != nil || !uses[0].FullAt.IsZero() {
		t.Errorf("full: %v, %v, %v; want a problem alone", uses, notes, full)
	}
	if b.count(roundOf(at, 1), nil); len(b.trends) != 0 {
		t.Errorf("trends of subnets that are not ours any more: %v", b.trends)
	}
}
