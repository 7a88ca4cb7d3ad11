// SPDX-License-Identifier: Apache-2.0

package addresses

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// much is from where on, in percent, use is worth a word.
const much = 80

// countable bounds the totals that mean something to people.
const countable = math.MaxUint32

// IsFull reports whether no address is left.
func (u Use) IsFull() bool { return u.Total > 0 && u.Used >= u.Total }

// IsMuch reports whether most addresses are used.
func (u Use) IsMuch() bool { return u.Percent() >= much }

// Count says how much of a subnet is used: "205 of 253".
func (u Use) Count() string {
	if u.Total > countable {
		return fmt.Sprint(u.Used)
	}
	return fmt.Sprintf("%d of %d", u.Used, u.Total)
}

// bigger is what helps in the long run; where Kubernetes assigns podCIDRs, their
// size is its to say.
const bigger = "give nodes bigger subnets (SubnetLen, or --node-cidr-mask-size of kube-controller-manager; percale plan)"

// Explain says in one sentence how full a subnet is, who uses it, until when it
// lasts (0: not in sight) and what helps. There is something to say if it is
// full or IsMuch.
func (u Use) Explain(users []User, lasts time.Duration) string {
	var b strings.Builder
	if u.IsFull() {
		fmt.Fprintf(&b, "subnet %s is full: %s used", u.Subnet, u.Count())
	} else {
		fmt.Fprintf(&b, "subnet %s is %d %% used: %s", u.Subnet, u.Percent(), u.Count())
	}
	if u.Gone > 0 {
		fmt.Fprintf(&b, ", %d of them by sandboxes that no longer exist (percale ipam gc)", u.Gone)
	}
	if names := Biggest(users); names != "" {
		b.WriteString("; biggest users: " + names)
	}
	if lasts > 0 && !u.IsFull() {
		b.WriteString("; at the present rate full in " + Lasting(lasts))
	}
	if u.IsFull() {
		b.WriteString(". New pods of this node fail: delete some, or " + bigger)
	} else {
		b.WriteString(". Run fewer pods here, or " + bigger)
	}
	return b.String()
}

// Biggest names the first few users, with what they have. Where nobody has
// more than one address there is no biggest, and nothing to name.
func Biggest(users []User) string {
	const most = 3
	if len(users) == 0 || users[0].Addrs < 2 {
		return ""
	}
	var names []string
	for _, u := range users[:min(len(users), most)] {
		names = append(names, fmt.Sprintf("%s %d", u.Name, u.Addrs))
	}
	return strings.Join(names, ", ")
}

// Lasting says how long something goes on, in one or two units.
func Lasting(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 10*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}
