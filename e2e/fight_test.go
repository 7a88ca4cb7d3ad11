// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	nft "github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/network"
)

// An opponent does one thing to a node again and again.
type opponent struct {
	stop  context.CancelFunc
	ended chan error
}

func startOpponent(t *testing.T, act func() error) *opponent {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	o := &opponent{stop, make(chan error, 1)}
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			if err := act(); err != nil {
				o.ended <- err
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				o.ended <- nil
				return
			}
		}
	}()
	t.Cleanup(func() { stop() })
	return o
}

// command returns the running of a tool on n.
func command(n *lab.Node, line string) func() error {
	words := strings.Fields(line)
	return func() error {
		_, err := n.NS().Output(words[0], words[1:]...)
		return err
	}
}

// dropTable returns the deletion of the agent's nftables table.
func dropTable(n *lab.Node) func() error {
	return func() error {
		return n.NS().Do(func() error {
			c, err := nft.New()
			if err != nil {
				return err
			}
			c.DelTable(&nft.Table{Name: "percale", Family: nft.TableFamilyINet})
			if err := c.Flush(); !errors.Is(err, unix.ENOENT) {
				return err
			}
			return nil
		})
	}
}

// rest ends it, and fails the test if it could not do what it was to do.
func (o *opponent) rest(t *testing.T) {
	t.Helper()
	o.stop()
	if err := <-o.ended; err != nil {
		t.Error(err)
	}
}

// TestFightIsNamed lets a program undo one thing of a node all the time, and
// wants to be told what, how often and by whom, at a bounded price. When it
// rests the node is as before, and all that is left are the counts.
func TestFightIsNamed(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 2, Pods: 1})
	prove(t, l)
	n := l.Node(1)
	settled(t, n)
	before := dataPlane(t, n)
	route := strings.Fields(output(t, n.NS(), "ip route show proto 112")) // subnet via … dev … metric N …
	if len(route) < 7 || route[5] != "metric" {
		t.Fatalf("the route to the peer is %q", route)
	}
	subnet, via := route[0], l.Node(2).Uplink()[0]
	for name, f := range map[string]feud{
		"route": {
			act:    command(n, fmt.Sprintf("ip route replace %s metric %s via %s dev eth0 proto 12", subnet, route[6], via)),
			rounds: kernelRounds, who: fmt.Sprintf("child of %d (", os.Getpid()), help: "ip monitor route",
			want: status.Contested{Kind: network.RouteEntry, Name: subnet, Cause: network.Changed, Found: fmt.Sprintf("via %s dev eth0 proto bird (12)", via)},
		},
		"link": {
			act:    command(n, "ip link set flannel.1 mtu 1300"),
			rounds: kernelRounds, help: "ip monitor link",
			want: status.Contested{Kind: network.LinkEntry, Name: "flannel.1", Cause: network.Changed, Found: "mtu 1300"},
		},
		"firewall": {
			act:    dropTable(n),
			rounds: firewallRounds, anybody: true, help: "nft monitor",
			want: status.Contested{Kind: network.RulesEntry, Name: "table", Cause: network.Missing},
		},
	} {
		f.fight(t, n, name)
		eventually(t, func() error {
			if after := dataPlane(t, n); after != before {
				return fmt.Errorf("after the fight over the %s the node is\n%s\nwant\n%s", name, after, before)
			}
			return nil
		})
	}
	prove(t, l)
}

func kernelRounds(s status.Status) status.Rounds   { return s.Kernel }
func firewallRounds(s status.Status) status.Rounds { return s.Firewall.Rounds }

// A feud is something to fight over, and what the status is to say of it.
type feud struct {
	act     func() error
	rounds  func(status.Status) status.Rounds // of the loop that notices
	want    status.Contested
	who     string // part of the name; "" for nobody
	anybody bool   // who it was may be known or not
	help    string
}

// fight begins, watches and ends one fight.
func (f feud) fight(t *testing.T, n *lab.Node, name string) {
	t.Helper()
	const failedRest = 100 * time.Millisecond // at least, between two rounds of which the first failed
	o := startOpponent(t, f.act)
	var on status.Rounds
	var seen string
	await(t, n, func(s status.Status) error {
		on = f.rounds(s)
		err := f.named(s)
		if err == nil {
			seen = s.Problems[0].Seen
		}
		return err
	})
	began := time.Now()
	await(t, n, func(s status.Status) error {
		now := f.rounds(s)
		if now.Repaired < on.Repaired+20 {
			return fmt.Errorf("%d rounds have repaired; want 20 more than %d", now.Repaired, on.Repaired)
		}
		rounds, most := now.Count-on.Count, int(time.Since(began)/failedRest)+2
		if now.Fights == on.Fights && rounds > most {
			t.Errorf("%s: %d rounds in %v of a fight; want %d at most", name, rounds, time.Since(began), most)
		}
		return nil
	})
	t.Logf("%s: %s", name, seen)
	o.rest(t)
	await(t, n, func(s status.Status) error {
		if r := f.rounds(s); r.Fight != nil || len(s.Problems) > 0 || r.Fights < on.Fights {
			return fmt.Errorf("fight %+v, problems %v, %d fights; want none now, and %d or more", r.Fight, s.Problems, r.Fights, on.Fights)
		}
		return nil
	})
}

// named reports as an error what is missing of the fight in the status.
func (f feud) named(s status.Status) error {
	r := f.rounds(s)
	if r.Fight == nil || r.Fights == 0 || len(s.Problems) != 1 {
		return fmt.Errorf("fight %+v, %d of them, problems %v; want one", r.Fight, r.Fights, s.Problems)
	}
	got := r.Fight.Entries[0]
	times := got.Times
	got.Times = 0
	who := r.Fight.Who
	if got != f.want || times < 10 || !f.anybody && (!strings.Contains(who, f.who) || (f.who == "") != (who == "")) {
		return fmt.Errorf("fight %+v; want %+v, 10 times or more, by %q", *r.Fight, f.want, f.who)
	}
	for _, text := range []string{f.want.Name, fmt.Sprintf("undone %d times", times), f.want.Found, who, f.help} {
		if !strings.Contains(s.Problems[0].Seen, text) {
			return fmt.Errorf("problem %q; want %q in it", s.Problems[0].Seen, text)
		}
	}
	return nil
}
