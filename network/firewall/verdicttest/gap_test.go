// SPDX-License-Identifier: Apache-2.0

package verdicttest

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/percale-net/percale/network/firewall"
)

const replacements = 50

// Each packet is a connection of its own, since the kernel asks the rules about
// the first packet of a connection only.
func TestNoPacketMeetsAGap(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world, r renderer) {
		c := config()
		if _, err := r.sync(t.Context(), firewall.Rules(c)); err != nil {
			t.Fatal(err)
		}
		src, dst := place("pod here", firewall.IPv4), place("outside", firewall.IPv4)
		to := w.listen(t, dst, 0)
		addr := netip.AddrPortFrom(dst, to.LocalAddr().(*net.UDPAddr).AddrPort().Port())
		came := receive(to)
		stop, sent := make(chan struct{}), make(chan uint32, 1)
		go func() {
			n, err := w.stream(src, addr, stop)
			if err != nil {
				t.Error(err)
			}
			sent <- n
		}()
		for i := range replacements {
			// Rules alone differ, then chains come and go.
			c.RandomFully, c.TunnelPort = i%2 == 1, 8472*(i/2%2)
			if changed, err := r.sync(t.Context(), firewall.Rules(c)); err != nil || changed == nil {
				t.Errorf("replacement %d: changed %v, %v; want some change", i, changed, err)
			}
		}
		close(stop)
		count(t, came, <-sent, w.masked(dst))
	})
}

// stream sends numbered packets from src, one in a millisecond, until stop.
func (w *world) stream(src netip.Addr, dst netip.AddrPort, stop <-chan struct{}) (n uint32, err error) {
	err = w.nsOf(src).Do(func() error {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ; ; n++ {
			select {
			case <-stop:
				return nil
			case <-tick.C:
			}
			c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(src, 0)))
			if err != nil {
				return err
			}
			_, err = c.WriteToUDPAddrPort(binary.BigEndian.AppendUint32(nil, n), dst)
			if err := errors.Join(err, c.Close()); err != nil {
				return err
			}
		}
	})
	return n, err
}

type arrival struct {
	n    uint32
	from netip.Addr
}

// receive passes on what comes to c until it is closed.
func receive(c *net.UDPConn) <-chan arrival {
	came := make(chan arrival, 1<<16) // more than are sent: the socket's own buffer is small
	go func() {
		defer close(came)
		b := make([]byte, 4)
		for {
			_, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			came <- arrival{binary.BigEndian.Uint32(b), from.Addr().Unmap()}
		}
	}()
	return came
}

// count sees that all sent packets came, each from src.
func count(t *testing.T, came <-chan arrival, sent uint32, src netip.Addr) {
	t.Helper()
	late := time.After(soon)
	seen := make(map[uint32]bool)
	for len(seen) < int(sent) {
		select {
		case a := <-came:
			seen[a.n] = true
			if a.from != src {
				t.Errorf("packet %d of %d came from %v; want %v", a.n, sent, a.from, src)
			}
		case <-late:
			t.Fatalf("%d of %d packets came; want all", len(seen), sent)
		}
	}
	if sent < replacements {
		t.Errorf("only %d packets were sent during %d replacements; want more", sent, replacements)
	}
}
