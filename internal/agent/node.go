// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/percale-net/percale/internal/addresses"
	"github.com/percale-net/percale/internal/kubenode"
	"github.com/percale-net/percale/internal/reconcile"
	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/subnet/kube/nodes"
)

// partNode is what is told of under when Kubernetes cannot be told of our node.
const partNode = "node"

// nodePeriod is how often the node loop looks at the status, which does not kick
// it for all that it tells; nodeRead how often it reads our Node while no watch
// tells of it.
const (
	nodePeriod = 10 * time.Second
	nodeRead   = time.Minute
)

// leaseGrace is how long our lease must have trouble before an Event tells it.
const leaseGrace = 15 * time.Second

// A voice is what the node loop tells Kubernetes with.
type voice struct {
	loop *reconcile.Loop
	own  atomic.Pointer[nodes.Own] // as the store's watch told last; nil: nothing yet

	// The loop's alone.
	teller *kubenode.Teller
	read   *nodes.Own // by ourselves, at readAt
	readAt time.Time
}

// ownNode takes news of our own Node object. It never blocks.
func (a *Agent) ownNode(own nodes.Own) {
	a.voice.own.Store(&own)
	a.voice.loop.Kick()
}

// tellNode tells Kubernetes of our node until ctx ends, where that is what keeps
// leases. It does so from the start on, since what is to be told may be why the
// other loops do not run.
func (a *Agent) tellNode(ctx context.Context) error {
	if !a.settings.KubeSubnetMgr {
		return nil
	}
	return a.voice.loop.Run(ctx)
}

// nodeRound tells Kubernetes what is to be told of our node now.
func (a *Agent) nodeRound(ctx context.Context) (time.Duration, error) {
	s := a.board.Status()
	if s.Node == "" {
		return nodePeriod, nil // Kubernetes is yet to be asked for our name
	}
	again, err := a.tell(ctx, s)
	conditions := conditionsOf(cmp.Or(a.voice.own.Load(), a.voice.read))
	a.report(func(s *status.Status) {
		s.Fault(partNode, err, time.Now())
		s.Kubernetes.Conditions = conditions
	})
	if again == 0 {
		again = nodePeriod
	}
	return min(again, nodePeriod), err
}

func (a *Agent) tell(ctx context.Context, s status.Status) (again time.Duration, err error) {
	v := &a.voice
	if v.teller == nil {
		client, err := kubenode.Client(a.settings.KubeAPIURL, a.settings.KubeconfigFile, a.version)
		if err != nil {
			return 0, err
		}
		story := kubenode.NewStory(a.settings.SetNodeNetworkUnavailable)
		if v.teller, err = kubenode.NewTeller(client, s.Node, story, a.log); err != nil {
			return 0, err
		}
	}
	own, err := v.node(ctx)
	if err != nil || own == nil {
		return 0, err
	}
	return v.teller.Round(ctx, own, nodeFacts(s, time.Now()))
}

// node returns our Node as it was read last; nil if it is not known yet. Where
// the store's watch does not run, as it is yet to be told how, it is read here.
func (v *voice) node(ctx context.Context) (*nodes.Own, error) {
	if own := v.own.Load(); own != nil {
		v.read = nil
		return own, nil
	}
	switch {
	case v.readAt.IsZero():
		v.readAt = time.Now() // the watch may need a moment
	case time.Since(v.readAt) >= nodeRead:
		own, err := v.teller.Look(ctx)
		if err != nil {
			return nil, err
		}
		v.read, v.readAt = &own, time.Now()
	}
	return v.read, nil
}

// conditionsOf returns those conditions of a Node that we keep; none of nil.
func conditionsOf(own *nodes.Own) (all []status.Condition) {
	if own == nil {
		return nil
	}
	for _, c := range own.Conditions {
		if c.Type == kubenode.NetworkUnavailable || c.Type == kubenode.PodSubnetExhausted {
			all = append(all, status.Condition{Type: c.Type, Status: c.Status, Reason: c.Reason})
		}
	}
	slices.SortFunc(all, func(a, b status.Condition) int { return cmp.Compare(a.Type, b.Type) })
	return all
}

// nodeFacts draws from the status what is to be told of the node.
func nodeFacts(s status.Status, now time.Time) (f kubenode.Facts) {
	f.Part, f.Trouble = trouble(s)
	for _, a := range s.Addresses {
		f.Usage = append(f.Usage, usageOf(a, now))
	}
	for _, p := range s.Problems {
		switch p.Part {
		case partFight, partFirewallFight:
			f.Alarms = append(f.Alarms, kubenode.Alarm{Reason: kubenode.Fight, Text: p.Seen})
		case partLease: // which a store that is away makes fail, too
			if p.Part != f.Part && s.Store.Error == "" && now.Sub(p.Since) >= leaseGrace {
				f.Alarms = append(f.Alarms, kubenode.Alarm{Reason: kubenode.LeaseFails, Text: p.Seen})
			}
		}
	}
	return f
}

// trouble says why packets of this node do not get through; "" if they do. A
// store that is away means no such thing while the data plane stands, nor do
// entries of some peers that the kernel does not take; those of all of them do.
func trouble(s status.Status) (part, seen string) {
	none := s.Peers.Wanted > 1 && s.Peers.Programmed == 0
	for _, p := range s.Problems {
		if keepsWaiting(s, p.Part) || none && p.Part == partPeers {
			return p.Part, p.Seen
		}
	}
	return "", s.Waiting
}

// usageOf says how far a subnet is used.
func usageOf(a status.Addresses, now time.Time) kubenode.Usage {
	use := addresses.Use{Subnet: a.Subnet, Used: a.Used, Total: a.Total, Gone: a.Stale, Resting: a.Resting}
	var users []addresses.User
	for _, u := range a.Users {
		users = append(users, addresses.User{Name: u.Name, Addrs: u.Addresses})
	}
	var lasts time.Duration
	if !a.FullAt.IsZero() {
		lasts = max(a.FullAt.Sub(now), time.Second)
	}
	return kubenode.Usage{Used: a.Used, Total: a.Total, Text: use.Explain(users, lasts)}
}
