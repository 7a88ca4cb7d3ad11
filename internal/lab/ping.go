// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	pingPort = 7008
	// pingGrace is how long the answers to the last datagrams may take, and
	// pingLate how long after the answer to the very last one those before it
	// may, if they were overtaken.
	pingGrace = time.Second
	pingLate  = 50 * time.Millisecond
)

// A Pinger sends small datagrams from one pod to another, one every few
// milliseconds, and counts the answers.
type Pinger struct {
	server *server
	conn   *net.UDPConn
	sent   atomic.Uint64
	got    atomic.Uint64
	newest atomic.Uint64 // number of the newest datagram that was answered
	last   atomic.Uint64 // number of the last datagram, once none is sent any more
	cancel context.CancelFunc
	done   errgroup.Group
}

// Ping starts a Pinger to the first address of the pod to. One pod is pinged
// by one Pinger at a time.
func Ping(from, to Pod, every time.Duration) (*Pinger, error) {
	s, err := serve(to, pingPort)
	if err != nil {
		return nil, fmt.Errorf("listen in pod %s: %w", to.Name, err)
	}
	var conn *net.UDPConn
	err = from.NS().Do(func() (err error) {
		conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to.Addrs[0], pingPort)))
		return err
	})
	if err != nil {
		s.close()
		return nil, fmt.Errorf("ping from pod %s: %w", from.Name, err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // ended by Stop
	p := &Pinger{server: s, conn: conn, cancel: cancel}
	p.done.Go(func() error { return p.send(ctx, every) })
	p.done.Go(p.receive)
	return p, nil
}

// send sends until ctx ends, then gives the last answers their time.
func (p *Pinger) send(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			p.last.Store(p.sent.Load())
			grace := pingGrace
			if p.newest.Load() >= p.last.Load() {
				grace = pingLate
			}
			return p.conn.SetReadDeadline(time.Now().Add(grace))
		case <-tick.C:
			var b [smallBytes]byte
			binary.BigEndian.PutUint64(b[stampBytes:], p.sent.Add(1))
			p.conn.Write(b[:]) // what cannot be sent counts as lost
		}
	}
}

// receive counts each answer once, until the deadline that send sets in the
// end, or soon after the answer to the last datagram.
func (p *Pinger) receive() error {
	seen := make(map[uint64]bool)
	b := make([]byte, smallBytes)
	for {
		n, err := p.conn.Read(b)
		if e, ok := err.(net.Error); ok && e.Timeout() {
			return nil
		}
		if err == nil && n == smallBytes {
			if k := binary.BigEndian.Uint64(b[stampBytes:]); !seen[k] {
				seen[k] = true
				p.got.Add(1)
				p.newest.Store(max(k, p.newest.Load())) // nobody else stores
				if k == p.last.Load() {
					p.conn.SetReadDeadline(time.Now().Add(pingLate))
				}
			}
		}
	}
}

// Counts returns how many datagrams were sent, and answered, so far.
func (p *Pinger) Counts() (sent, answered uint64) { return p.sent.Load(), p.got.Load() }

// Stop ends the sending and returns how many datagrams were sent and lost.
func (p *Pinger) Stop() (sent, lost uint64, err error) {
	p.cancel()
	err = p.done.Wait()
	p.conn.Close()
	p.server.close()
	sent, answered := p.Counts()
	return sent, sent - answered, err
}
