// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/netns"
)

// A monitor collects what "ip monitor all" tells about a namespace.
type monitor struct {
	ns    netns.NS
	cmd   *exec.Cmd
	lines chan string
	marks int // made so far
}

// traffic is what the kernel reports about neighbors that it found by itself,
// whether agents run or not.
var traffic = regexp.MustCompile(`^\[NEIGH\].* (REACHABLE|STALE|DELAY|PROBE|INCOMPLETE|FAILED)( proto \S+)?\s*$`)

func startMonitor(t *testing.T, ns netns.NS) *monitor {
	t.Helper()
	m := &monitor{ns: ns, cmd: exec.Command("ip", "monitor", "all"), lines: make(chan string, 10000)}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	m.cmd.Stdout, m.cmd.Stderr = w, w
	if err := errors.Join(ns.Start(m.cmd), w.Close()); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(m.lines)
		defer r.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			m.lines <- s.Text()
		}
	}()
	m.mark(t) // it listens
	return m
}

// mark makes a change of its own and returns what was told before that. Each
// has an address of its own, as the kernel tells of one in several lines.
func (m *monitor) mark(t *testing.T) []string {
	t.Helper()
	const signs = "198.51.100."
	m.marks++
	sign := fmt.Sprintf("%s%d/32", signs, m.marks)
	var seen []string
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	output(t, m.ns, "ip address replace "+sign+" dev lo")
	for {
		select {
		case line := <-m.lines:
			if strings.Contains(line, "Deleted") && strings.Contains(line, " "+sign) {
				return seen
			}
			// An event begins with its kind in brackets; lines that go on have none.
			if strings.HasPrefix(line, "[") && !strings.Contains(line, signs) && !traffic.MatchString(line) {
				seen = append(seen, line)
			}
		case <-tick.C:
			// Until the monitor listens it misses changes; so once more.
			output(t, m.ns, "ip address replace "+sign+" dev lo")
			output(t, m.ns, "ip address del "+sign+" dev lo")
		case <-ctx.Done():
			t.Fatal("ip monitor told nothing of our mark")
		}
	}
}

func (m *monitor) stop(t *testing.T) {
	t.Helper()
	if err := m.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	m.cmd.Wait() // killed: an error, as it should be
}

// TestRestart ends agents in each way under traffic, and wants no packet lost,
// no change in the kernel, and the data plane to work without any agent.
func TestRestart(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]lab.Spec{
		"nftables": {Nodes: 2, Pods: 1, Families: lab.Dual},
		"iptables": {Nodes: 2, Pods: 1, Families: lab.Dual, Conf: conf(`{"Firewall":"iptables"}`)},
		"host-gw":  {Nodes: 2, Pods: 1, Families: lab.Dual, Backend: "host-gw"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := up(t, spec)
			prove(t, l)
			settled(t, l.Node(1))
			pods := l.Pods()
			ping, err := lab.Ping(pods[0], pods[1], 10*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			mon := startMonitor(t, l.Node(1).NS())
			defer mon.stop(t)
			before := dataPlane(t, l.Node(1))
			mon.mark(t)
			restarts(t, l)
			if told := mon.mark(t); len(told) > 0 {
				t.Errorf("ip monitor over restarts told:\n%s\nwant nothing", strings.Join(told, "\n"))
			}
			if after := dataPlane(t, l.Node(1)); after != before {
				t.Errorf("after restarts:\n%s\nwant as before:\n%s", after, before)
			}
			sent, lost, err := ping.Stop()
			if err != nil || lost > 0 || sent == 0 {
				t.Errorf("ping over restarts: %d sent, %d lost, %v; want none lost", sent, lost, err)
			}
		})
	}
}

// settled waits until the kernel has finished what new links and addresses make
// it do later: an address is tentative until nobody objects, a link down until
// its other end is noticed.
func settled(t *testing.T, n *lab.Node) {
	t.Helper()
	eventually(t, func() error {
		out := output(t, n.NS(), "ip -6 address show tentative") + output(t, n.NS(), "ip route show")
		if strings.Contains(out, "tentative") || strings.Contains(out, "linkdown") {
			return fmt.Errorf("%s has not settled:\n%s", n.Name(), out)
		}
		return nil
	})
}

func restarts(t *testing.T, l *lab.Lab) {
	t.Helper()
	a := l.Node(1).Agent(0)
	for _, end := range []struct {
		name string
		how  func(context.Context) error
	}{{"SIGKILL", a.Kill}, {"SIGTERM", a.Stop}, {"SIGKILL again", a.Kill}} {
		if err := end.how(t.Context()); err != nil {
			t.Fatalf("%s: %v", end.name, err)
		}
		prove(t, l) // without an agent
		if err := a.Start(); err != nil {
			t.Fatal(err)
		}
		ready(t, 1, l.Node(1))
		if s, err := a.Status(t.Context()); err != nil || s.Kernel.Count == 0 || s.Kernel.Writes != 0 {
			t.Errorf("%s and start: %d rounds asked the kernel for %d changes, %v; want none", end.name, s.Kernel.Count, s.Kernel.Writes, err)
		}
	}
}

// TestSIGTERMIsClean wants exit at once and code 0, whatever the agent waits for.
func TestSIGTERMIsClean(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 1, NoWait: true})
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	n := l.Node(1)
	if err := n.Agent(0).WaitReady(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if err := n.Agent(0).Kill(ctx); err != nil {
		t.Fatal(err)
	}
	args := n.Agent(0).Args()
	for _, etcd := range []bool{true, false} {
		if !etcd {
			if err := l.StopEtcd(ctx); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stderr = io.Discard
		if err := n.NS().Start(cmd); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error { _, err := n.Agent(0).Status(ctx); return err })
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("SIGINT, etcd there: %v: %v; want exit code 0", etcd, err)
		}
	}
}

// TestChangesWhileAway changes and removes peers, and deletes a route, while no
// agent runs. The next one leaves nothing of what is no more.
func TestChangesWhileAway(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 2, Pods: 1})
	n := l.Node(1)
	a := n.Agent(0)
	const goes, moves = "/subnets/10.244.250.0-24", "/subnets/10.244.251.0-24"
	put(t, l, map[string]string{moves: foreign("192.168.77.203", mac3)})
	ready(t, 2, n)
	want := dataPlane(t, n)
	put(t, l, map[string]string{goes: foreign("192.168.77.201", mac1), moves: foreign("192.168.77.202", mac2)})
	ready(t, 3, n)
	eventually(t, func() error { return knowsUplink(t, n, netip.MustParseAddr("192.168.77.202")) })
	if err := a.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, l, map[string]string{goes: "", moves: foreign("192.168.77.203", mac3)})
	output(t, n.NS(), "ip route del "+subnetsOf(t, l.Node(2))[0].String())
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if now := dataPlane(t, n); now != want {
			return fmt.Errorf("after a start:\n%s\nwant:\n%s", now, want)
		}
		return nil
	})
	prove(t, l)
}
