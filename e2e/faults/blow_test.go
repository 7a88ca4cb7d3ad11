// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/labtest"
)

// A blow is a fault that may befall a node at any time, while it still suffers
// from others. So any of its commands may fail, and nobody waits for the end.
type blow struct {
	name     string
	restarts bool   // the agent
	like     string // of this fault: as long as that is not healed, no blow either
	deal     func(context.Context, *struck) error
}

// A struck is the node that a blow is dealt to, and the chance by which it is.
type struck struct {
	lab    *lab.Lab
	node   *lab.Node
	rand   *rand.Rand
	etcd   *sync.Mutex // held while etcd is away
	leases *sync.Mutex // held while leases change
}

const (
	moment     = 200 * time.Millisecond // that passing faults last
	blowMost   = 5 * time.Second        // for a request to etcd
	blowRoutes = 50
)

// blows lists them. DEV stands for one overlay device, UPLINK for the node's
// port at the switch.
var blows = []blow{
	{name: "agent killed", restarts: true, deal: again((*lab.Agent).Kill)},
	{name: "agent ended", restarts: true, deal: again((*lab.Agent).Stop)},
	{name: "agent stalled", deal: stallAgent},
	{name: "state files half-written, agent killed", restarts: true, deal: halfWritten},
	{name: "routes flushed", deal: commands("ip -4 route flush proto 112", "ip -6 route flush proto 112")},
	{name: "a route leads elsewhere", deal: misleadOne},
	{name: "foreign routes", deal: foreignRoutes},
	{name: "neighbors flushed", deal: commands("ip neigh flush dev DEV nud permanent")},
	{name: "junk in tables", deal: junkInTables},
	{name: "FDB emptied", deal: emptyTable},
	{name: "device down", deal: commands("ip link set dev DEV down")},
	{name: "device deleted", deal: commands("ip link del dev DEV")},
	{name: "device's addresses flushed", deal: commands("ip address flush dev DEV scope global")},
	{name: "device's MTU", deal: commands("ip link set dev DEV mtu 1300")},
	{name: "device's MAC", deal: commands("ip link set dev DEV address 02:00:00:00:00:77")},
	{name: "device learns", deal: commands("ip link set dev DEV type vxlan learning")},
	{name: "rules flushed", deal: func(_ context.Context, s *struck) error { return withNFT(s.node.NS(), flushAll) }},
	{name: "forwarding off", deal: settingOff("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")},
	{name: "subnet.env truncated", deal: func(_ context.Context, s *struck) error { return truncate(s.node.Agent(0).SubnetFile()) }},
	{name: "subnet.env deleted", deal: func(_ context.Context, s *struck) error { return remove(s.node.Agent(0).SubnetFile()) }},
	{name: "uplink unplugged", deal: commands("switch link set dev UPLINK down", "", "switch link set dev UPLINK up")},
	{name: "uplink's MTU", deal: commands("ip link set dev eth0 mtu 1400", "", "ip link set dev eth0 mtu 1500")},
	{name: "own lease deleted", deal: dropLease},
	{name: "etcd stopped", deal: withoutEtcd((*lab.Lab).StopEtcd, (*lab.Lab).StartEtcd)},
	{name: "etcd paused", deal: withoutEtcd(
		func(l *lab.Lab, _ context.Context) error { return l.PauseEtcd() },
		func(l *lab.Lab, _ context.Context) error { return l.ResumeEtcd() })},
	{name: "etcd compacted", deal: withoutEtcd((*lab.Lab).CompactEtcd, func(*lab.Lab, context.Context) error { return nil })},
	{name: "cut off from etcd", deal: cutOff},
	{name: "cni0 down and flushed", like: "cni0 down and flushed",
		deal: commands("ip link set dev cni0 down", "ip address flush dev cni0")},
}

// pause lets a moment pass.
func pause(ctx context.Context) {
	select {
	case <-time.After(moment):
	case <-ctx.Done():
	}
}

// again ends the agent and starts it.
func again(end func(*lab.Agent, context.Context) error) func(context.Context, *struck) error {
	return func(ctx context.Context, s *struck) error {
		return errors.Join(end(s.node.Agent(0), ctx), s.node.Agent(0).Start())
	}
}

func stallAgent(ctx context.Context, s *struck) error {
	err := s.node.Agent(0).Pause()
	pause(ctx)
	return errors.Join(err, s.node.Agent(0).Resume())
}

func halfWritten(ctx context.Context, s *struck) error {
	a := s.node.Agent(0)
	err := a.Kill(ctx)
	entries, _ := os.ReadDir(a.StateDir()) // none: nothing to spoil
	for _, e := range entries {
		err = errors.Join(err, truncate(a.StateDir()+"/"+e.Name()))
	}
	return errors.Join(err, a.Start())
}

// commands runs each; "" stands for a moment, "switch" for ip at the switch.
func commands(lines ...string) func(context.Context, *struck) error {
	return func(ctx context.Context, s *struck) error {
		fill := strings.NewReplacer("DEV", tunnels[s.rand.IntN(2)], "UPLINK", s.node.Name())
		var errs []error
		for _, line := range lines {
			words := strings.Fields(fill.Replace(line))
			ns := s.node.NS()
			switch {
			case line == "":
				pause(ctx)
				continue
			case words[0] == "switch":
				ns, words[0] = s.lab.Switch(), "ip"
			}
			_, err := ns.Output(words[0], words[1:]...)
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
}

// misleadOne gives one route another gateway.
func misleadOne(ctx context.Context, s *struck) error {
	i := s.rand.IntN(2)
	family := []string{"-4", "-6"}[i]
	out, err := s.node.NS().Output("ip", family, "route", "show", "dev", tunnels[i], "proto", "112")
	if err != nil || out == "" {
		return errors.Join(err, errors.New("no route to mislead"))
	}
	f := strings.Fields(out) // DST via GATEWAY metric N onlink
	f[2] = []string{"10.244.255.77", "fd00:10:244:ffff::77"}[i]
	args := append([]string{family, "route", "replace"}, f[:6]...)
	_, err = s.node.NS().Output("ip", append(args, "dev", tunnels[i], "proto", "112")...)
	return err
}

// foreignRoutes adds and deletes routes that are nobody's business.
func foreignRoutes(ctx context.Context, s *struck) error {
	var lines []string
	for _, change := range []string{"add", "del"} {
		for i := range blowRoutes {
			lines = append(lines, fmt.Sprintf("ip route %s blackhole 198.18.0.%d", change, i))
		}
	}
	return commands(lines...)(ctx, s)
}

// junkInTables leaves entries on a device of ours that nobody wants.
func junkInTables(ctx context.Context, s *struck) error {
	lines := []string{
		"ip -4 route add 198.18.7.0/24 dev " + tunnels[0] + " proto 112",
		"ip -4 neigh add 198.18.7.7 lladdr 02:ba:d0:00:00:01 dev " + tunnels[0] + " nud permanent",
		"ip -6 neigh add 2001:db8::7 lladdr 02:ba:d0:00:00:01 dev " + tunnels[1] + " nud permanent",
	}
	for range 10 {
		lines = append(lines, fmt.Sprintf("bridge fdb add %s dev %s dst 192.0.2.1", junkMAC(s.rand.IntN(flood)), tunnels[0]))
	}
	return commands(lines...)(ctx, s)
}

func emptyTable(ctx context.Context, s *struck) error {
	device := tunnels[s.rand.IntN(2)]
	out, err := s.node.NS().Output("bridge", "fdb", "show", "dev", device)
	var lines []string
	for line := range strings.Lines(out) {
		lines = append(lines, "bridge fdb del "+strings.Fields(line)[0]+" dev "+device)
	}
	return errors.Join(err, commands(lines...)(ctx, s))
}

func settingOff(paths ...string) func(context.Context, *struck) error {
	return func(_ context.Context, s *struck) error {
		path := paths[s.rand.IntN(len(paths))]
		return s.node.NS().Do(func() error { return os.WriteFile("/proc/sys/"+path, []byte("0"), 0) })
	}
}

// dropLease deletes the node's lease, and waits until it is back. No other lease
// changes meanwhile: an agent that sees others go together with its own must
// doubt etcd, for minutes.
func dropLease(ctx context.Context, s *struck) error {
	s.leases.Lock()
	defer s.leases.Unlock()
	ctx, cancel := context.WithTimeout(ctx, blowMost)
	defer cancel()
	return withEtcd(ctx, s.lab, func(ctx context.Context, c *clientv3.Client) error {
		err := labtest.Until(ctx, func() error {
			all, err := leases(ctx, c, s.lab)
			if err != nil {
				return err
			}
			st, err := s.node.Agent(0).Status(ctx)
			if err == nil && st.Peers.Wanted != len(all)-1 {
				err = fmt.Errorf("%s knows %d peers; etcd has %d leases", s.node.Name(), st.Peers.Wanted, len(all))
			}
			return err
		})
		if err != nil {
			return err
		}
		kv, err := leaseOf(ctx, c, s.lab, s.node.Name())
		if err != nil {
			return err
		}
		if _, err := c.Delete(ctx, string(kv.Key)); err != nil {
			return err
		}
		return labtest.Until(ctx, func() error {
			_, err := leaseOf(ctx, c, s.lab, s.node.Name())
			return err
		})
	})
}

// withoutEtcd breaks etcd for a moment, for all.
func withoutEtcd(breaks, mends func(*lab.Lab, context.Context) error) func(context.Context, *struck) error {
	return func(ctx context.Context, s *struck) error {
		s.etcd.Lock()
		defer s.etcd.Unlock()
		err := breaks(s.lab, ctx)
		pause(ctx)
		return errors.Join(err, mends(s.lab, ctx))
	}
}

func cutOff(ctx context.Context, s *struck) error {
	err := s.node.LoseEtcd()
	pause(ctx)
	return errors.Join(err, s.node.FindEtcd())
}
