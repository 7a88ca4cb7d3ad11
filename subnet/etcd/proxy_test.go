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
	dammed chan struct{} // not nil: the next connections swallow what comes, and tell it here
	wg     sync.WaitGroup
	l      net.Listener
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newProxyOn(t, l, target)
}

func newProxyOn(t *testing.T, l net.Listener, target string) *proxy {
	t.Helper()
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
			io.Copy(through{p, pair[0]}, pair[1])
			pair[0].Close()
			pair[1].Close()
		})
	}
}

// A through is one direction of a connection.
type through struct {
	p *proxy
	net.Conn
}

func (w through) Write(b []byte) (int, error) {
	w.p.mu.Lock()
	dammed := w.p.dammed
	w.p.mu.Unlock()
	if dammed == nil {
		return w.Conn.Write(b)
	}
	select {
	case dammed <- struct{}{}:
	default:
	}
	return len(b), nil
}

// dam swallows what is sent in either direction, and tells of it, until undam.
// Then connections that it struck are of no more use.
func (p *proxy) dam() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dammed = make(chan struct{}, 1)
	return p.dammed
}

// undam lets new connections through. Those that were there stay mute: they are
// held open by their ends alone.
func (p *proxy) undam() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dammed = nil
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
