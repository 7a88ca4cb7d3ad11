// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/percale-net/percale/network"
)

// A Sender is what one pod may send from.
type Sender struct {
	Port  string      // the node's end of its veth pair
	MAC   network.MAC // of the pod's end
	Addrs []netip.Addr
}

// Sender returns what the attachment may send from.
func (a Attachment) Sender() Sender {
	port, _ := HostEnd(a.Container, a.Ifname)
	s := Sender{Port: port, MAC: a.State().Links[a.Ifname].MAC}
	for _, p := range a.Addresses {
		s.Addrs = append(s.Addrs, p.Addr())
	}
	return s
}

// aliasMark begins, in the alias of a link whose pod is guarded, what the pod may
// send from. No container or network can have a name with a colon.
const aliasMark = "percale-from:"

// MaxAlias is the longest alias that a link can have, in bytes (IFALIASZ - 1).
const MaxAlias = 255

// Alias returns s, but for the port, as the text that the port bears in the
// kernel (ip link). It lives exactly as long as the port does, so that nothing
// else need be believed of who is behind it.
func (s Sender) Alias() string {
	texts := []string{aliasMark, s.MAC.String()}
	for _, a := range s.Addrs {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, " ")
}

// ParseSender is the inverse of Alias. Other words may stand before it. An
// alias that somebody else gave a link is no sender.
func ParseSender(port, alias string) (s Sender, ok bool, err error) {
	words := strings.Fields(alias)
	at := slices.Index(words, aliasMark)
	if at < 0 {
		return Sender{}, false, nil
	}
	words = words[at:]
	bad := func(err error) (Sender, bool, error) {
		return Sender{}, false, fmt.Errorf("alias of link %s: %w", port, err)
	}
	if len(words) < 2 {
		return bad(fmt.Errorf("%q: want a MAC and addresses behind it", alias))
	}
	s.Port = port
	if s.MAC, err = network.ParseMAC(words[1]); err != nil {
		return bad(err)
	}
	for _, w := range words[2:] {
		a, err := netip.ParseAddr(w)
		if err != nil || a.Zone() != "" || a.Is4In6() {
			return bad(fmt.Errorf("%.60q is no address", w))
		}
		s.Addrs = append(s.Addrs, a)
	}
	return s, true, nil
}

// LinkLocal returns the IPv6 address that an interface with the MAC gives
// itself (RFC 4291, appendix A).
func LinkLocal(m network.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{
		0: 0xfe, 1: 0x80,
		8: m[0] ^ 0x02, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5],
	})
}
