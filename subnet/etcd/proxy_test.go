// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A proxy stands between a store and its etcd, so that a test can cut the way.
type proxy struct {
	target string
	mu     sync.Mutex
	conns  []net.Conn
	held   bool // new connections are taken but lead nowhere
	waits  []net.Conn
	wg     sync.WaitGroup
	l      net.Listener
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{target: target, l: l}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.hold()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) endpoint() string { return "http://" + p.l.Addr().String() }

func (p *proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.conns = append(p.conns, c)
		if p.held {
			p.waits = append(p.waits, c)
		} else {
			p.joinLocked(c)
		}
		p.mu.Unlock()
	}
}

func (p *proxy) joinLocked(c net.Conn) {
	d, err := net.Dial("tcp", p.target)
	if err != nil {
		c.Close()
		return
	}
	p.conns = append(p.conns, d)
	for _, pair := range [...][2]net.Conn{{c, d}, {d, c}} {
		p.wg.Go(func() {
			io.Copy(pair[0], pair[1])
			pair[0].Close()
			pair[1].Close()
		})
	}
}

// hold cuts all connections; new ones lead nowhere.
func (p *proxy) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = true
	for _, c := range p.conns {
		c.Close()
	}
	p.conns, p.waits = nil, nil
}

// resume lets connections through again, the waiting ones too.
func (p *proxy) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = false
	for _, c := range p.waits {
		p.joinLocked(c)
	}
	p.waits = nil
}
