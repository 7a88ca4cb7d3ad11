// SPDX-License-Identifier: Apache-2.0

package kubenode

import (
	"strings"
	"time"
	"unicode"

	"github.com/percale-net/percale/subnet/kube/nodes"
)

// The conditions that we set. The first is Kubernetes' own; while it is True,
// no pods are put on the node.
const (
	NetworkUnavailable = "NetworkUnavailable"
	PodSubnetExhausted = "PodSubnetExhausted"
)

// Reasons of NetworkUnavailable where it is False, and of what we do not know
// more of where it is True.
const (
	reasonUp       = "PercaleIsUp"
	reasonNotReady = "NotReady"
)

// Reasons of PodSubnetExhausted; it is True for the last alone.
const (
	reasonRoom       = "PodSubnetHasRoom"
	reasonNearlyFull = "PodSubnetNearlyFull"
	reasonFull       = "PodSubnetFull"
)

const (
	isTrue  = "True"
	isFalse = "False"
)

// Shares of used addresses, in percent, from which a subnet counts as nearly
// full, and below which no more. Between them it stays what it was, so that the
// word does not change with each pod.
const (
	nearlyFull = 80
	roomAgain  = 75
)

// grace is how long trouble must last before pods are kept away from the node:
// longer than what heals by itself, such as an uplink that was renamed or a lock
// that somebody holds.
const grace = 15 * time.Second

// Facts are what the conditions are drawn from.
type Facts struct {
	// Trouble is why packets do not get through, with the remedy; "" if they do.
	// Part is the part of the agent that has it, as its status names them; "" if
	// it only has not come so far yet.
	Part, Trouble string

	// Usage is that of this node's subnets; none: not known.
	Usage []Usage

	// Alarms are troubles that leave the network available, for now. Each is told
	// of by an Event when it begins.
	Alarms []Alarm
}

// An Alarm is trouble of one kind.
type Alarm struct {
	Reason string // one word
	Text   string // with the remedy
}

// Reasons of Alarms.
const (
	Fight      = "FightWithOtherProgram"
	LeaseFails = "LeaseFails"
)

// A Usage says how many addresses of one subnet pods use.
type Usage struct {
	Used, Total uint64
	Text        string // the same in words, with the biggest users and the remedy
}

// percent is of the addresses that are used; 0 of none.
func (u Usage) percent() int {
	if u.Total == 0 {
		return 0
	}
	return int(float64(u.Used) / float64(u.Total) * 100)
}

// isFull reports whether no address is left.
func (u Usage) isFull() bool { return u.Total > 0 && u.Used >= u.Total }

// network returns the condition NetworkUnavailable. since is for how long there
// has been trouble. ok is false while nothing is to be said, so that what was
// said before stands.
func network(f Facts, since time.Duration) (c nodes.Condition, ok bool) {
	c = nodes.Condition{Type: NetworkUnavailable, Status: isFalse, Reason: reasonUp,
		Message: "The ways to this node's peers are in its kernel"}
	if f.Trouble == "" {
		return c, true
	}
	c.Status, c.Reason, c.Message = isTrue, reasonOf(f.Part), oneLine(f.Trouble)
	return c, since >= grace
}

// reasonOf names trouble of a part.
func reasonOf(part string) string {
	switch part {
	case "":
		return "Starting"
	case "uplink":
		return "NoUplink"
	case "lease":
		return "NoSubnet"
	case "net-conf":
		return "NoConfiguration"
	case "store":
		return "StoreAway"
	case "kernel", "peers":
		return "KernelRefuses"
	case "ipv6":
		return "NoIPv6"
	case "forwarding":
		return "NoForwarding"
	case "firewall":
		return "FirewallRefuses"
	case "subnet.env":
		return "NoSubnetFile"
	}
	return reasonNotReady
}

// exhausted returns the condition PodSubnetExhausted, of which was is the reason
// so far. ok is false where nothing is known.
func exhausted(usage []Usage, was string) (c nodes.Condition, ok bool) {
	c = nodes.Condition{Type: PodSubnetExhausted, Status: isFalse, Reason: reasonRoom,
		Message: "This node has addresses left for pods"}
	least := nearlyFull
	if was == reasonNearlyFull || was == reasonFull {
		least = roomAgain
	}
	var full, much []string
	for _, u := range usage {
		switch {
		case u.isFull():
			full = append(full, u.Text)
		case u.percent() >= least:
			much = append(much, u.Text)
		}
	}
	switch {
	case full != nil:
		c.Status, c.Reason, c.Message = isTrue, reasonFull, oneLine(strings.Join(full, "; "))
	case much != nil:
		c.Reason, c.Message = reasonNearlyFull, oneLine(strings.Join(much, "; "))
	}
	return c, len(usage) > 0
}

// maxMessage bounds what is told, in bytes.
const maxMessage = 1000

// oneLine makes text one line of bounded length: it may quote what others sent.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage-len("…")], "") + "…"
	}
	return text
}
