// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/backend/vxlan"
	"github.com/percale-net/percale/network/firewall/guard"
	"github.com/percale-net/percale/subnet"
)

// namedStrangers is how many of those whose tunnel packets were refused are
// named.
const namedStrangers = 4

// lasting is how long packets of a peer must go on to be refused to be a problem:
// one that moves, or is new, may send before its lease is known here.
const lasting = 10 * time.Second

// A refusal is what is to be told of refused tunnel packets.
type refusal struct {
	notes   []string
	problem error
	soon    bool // packets may turn out to be a problem
}

// firsts are when packets of strangers, without their number and age, were first
// known to be refused.
type firsts map[guard.Stranger]time.Time

// judge tells of tunnel packets that were refused lately, and returns what to
// judge the next ones by. Those that may be a peer's are a problem if they last;
// others are no more than a note. Those that are taken by now are neither.
func (f firsts) judge(all []guard.Stranger, peers []backend.Peer, now time.Time) (r refusal, next firsts) {
	if len(all) == 0 {
		return r, nil
	}
	var texts, unknown []string
	next = make(firsts, len(all))
	from := sourcesOf(peers)
	for _, s := range all {
		if from.taken(s) {
			continue
		}
		key, last := guard.Stranger{From: s.From, Inner: s.Inner}, now.Add(-s.Ago)
		first, ok := f[key]
		if !ok {
			first = last
		}
		next[key] = first
		why := from.blame(s, peers)
		switch {
		case why == "":
			unknown = append(unknown, fmt.Sprintf("%s (%d, as from %s)", s.From, s.Packets, s.Inner))
		case last.Sub(first) >= lasting:
			texts = append(texts, why)
		case s.Ago < lasting:
			r.soon = true
		}
	}
	if len(texts) > 0 {
		r.problem = errors.New("tunnel packets are dropped: " + some(texts) +
			". If these are to be taken, set \"Guard\": false in the Backend of net-conf: then any host that reaches the tunnel's port can send to pods")
	}
	if len(unknown) > 0 {
		r.notes = append(r.notes, "tunnel packets of hosts that are no peers are dropped: "+some(unknown))
	}
	return r, next
}

// A source is what of a peer's lease lets tunnel packets from an address in.
type source struct {
	peer string
	subnet.Endpoint
}

// Sources are those of each address. To ask thousands of peers about each of
// hundreds of strangers would take seconds, and anybody can be a stranger.
type sources struct {
	peers []backend.Peer
	of    map[netip.Addr][]source
}

func sourcesOf(peers []backend.Peer) sources {
	all := sources{peers, make(map[netip.Addr][]source, len(peers))}
	for _, p := range peers {
		for e := range p.Lease.Endpoints() {
			for _, a := range vxlan.Sources(e) {
				all.of[a] = append(all.of[a], source{p.Lease.Name(), e})
			}
		}
	}
	return all
}

// taken reports whether packets like those of s are taken now.
func (all sources) taken(s guard.Stranger) bool {
	return slices.ContainsFunc(all.of[s.From], func(e source) bool { return e.Subnet.Contains(s.Inner) || s.Inner == s.From })
}

// some joins the first few texts.
func some(texts []string) string {
	more := ""
	if n := len(texts) - namedStrangers; n > 0 {
		more = fmt.Sprintf("; and %d more", n)
	}
	return strings.Join(texts[:min(len(texts), namedStrangers)], "; ") + more
}

// blame says which peer's packets were refused, and what helps; "" if they are
// of none.
func (all sources) blame(s guard.Stranger, peers []backend.Peer) string {
	for _, p := range all.peers {
		if e, ok := owns(p.Lease, s.Inner); ok && !slices.Contains(vxlan.Sources(e), s.From) {
			return fmt.Sprintf("%d from %s with addresses of %s (%s), which publishes %s: if it has moved there, see by percale status there why its lease says otherwise; "+
				"if they come through a NAT, start percaled or flanneld there with %s=%s; if neither, that host forges them",
				s.Packets, s.From, p.Lease.Name(), e.Subnet, e.Uplink, publicFlag(s.From), s.From)
		}
	}
	if its := all.of[s.From]; len(its) > 0 {
		e := its[0]
		return fmt.Sprintf("%d from %s (%s) with the source %s, which is none of its pods' (%s): let it masquerade what it forwards to pods (--ip-masq)",
			s.Packets, e.peer, s.From, s.Inner, e.Subnet)
	}
	return ""
}

func publicFlag(a netip.Addr) string {
	if a.Is6() {
		return "--public-ipv6"
	}
	return "--public-ip"
}

// owns returns the endpoint of a lease whose subnet an address is in.
func owns(l subnet.Lease, a netip.Addr) (subnet.Endpoint, bool) {
	for e := range l.Endpoints() {
		if e.Subnet.Contains(a) || e.Uplink == a {
			return e, true
		}
	}
	return subnet.Endpoint{}, false
}

// single returns an address as a prefix.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
