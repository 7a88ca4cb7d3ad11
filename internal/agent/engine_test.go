// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"strings"
	"testing"

	"github.com/percale-net/percale/network/firewall/nftables"
)

// An onlooker is a renderer as far as it knows of others.
type onlooker struct {
	renderer
	drops []nftables.Drop
}

func (o onlooker) ForeignDrops() []nftables.Drop { return o.drops }

func TestDropsNameWhatHelps(t *testing.T) {
	one := nftables.Drop{Chain: "table ip site, chain x", Why: "it drops", Help: "do this"}
	for name, tc := range map[string]struct {
		of    renderer
		lines int
	}{
		"none":            {onlooker{}, 0},
		"another kind":    {nil, 0},
		"each has a line": {onlooker{drops: []nftables.Drop{one, one}}, 2},
	} {
		err := (&engine{renderer: tc.of}).drops()
		if (err == nil) != (tc.lines == 0) {
			t.Errorf("%s: drops = %v; want %d lines", name, err, tc.lines)
			continue
		}
		if err == nil {
			continue
		}
		for _, line := range strings.Split(err.Error(), "\n") {
			if tc.lines--; !strings.HasPrefix(line, one.Chain+": it drops. ") || !strings.HasSuffix(line, "Let them through: do this") {
				t.Errorf("%s: %q; want the chain, why, and what helps", name, line)
			}
		}
		if tc.lines != 0 {
			t.Errorf("%s: %d lines too few in %q", name, tc.lines, err)
		}
	}
}

func TestRepairNamesWhoDidIt(t *testing.T) {
	for by, want := range map[meddler]string{
		{}:            "chain forward: missing",
		{"nft", 4711}: "chain forward: missing; by process 4711 (nft)",
	} {
		r := undoneRules([]string{"chain forward: missing"}).by(by)
		if r.what != want || r.undone[0].Name != "chain forward" {
			t.Errorf("repair of what %v did = %q of %v; want %q", by, r.what, r.undone, want)
		}
	}
}
