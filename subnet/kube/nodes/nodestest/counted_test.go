// SPDX-License-Identifier: Apache-2.0

package nodestest

import (
	"context"
	"net"
	"sync/atomic"

	"k8s.io/client-go/rest"
)

// counted returns cfg with a connection of its own, whose bytes it counts as
// they come: with TLS, HTTP and compression, as a network card sees them but
// for the packets' headers.
func counted(cfg *rest.Config) (*rest.Config, *atomic.Int64) {
	own, received := rest.CopyConfig(cfg), new(atomic.Int64)
	own.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		return countedConn{c, received}, err
	}
	return own, received
}

type countedConn struct {
	net.Conn
	received *atomic.Int64
}

func (c countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.received.Add(int64(n))
	return n, err
}
