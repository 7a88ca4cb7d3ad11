// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/internal/web"
)

const askTimeout = 5 * time.Second

// Status asks the agent for its state.
func (a *Agent) Status(ctx context.Context) (status.Status, error) {
	var s status.Status
	return s, a.ask(ctx, "/status", &s)
}

// Peers asks the agent for its peers.
func (a *Agent) Peers(ctx context.Context) ([]status.Peer, error) {
	var ps []status.Peer
	return ps, a.ask(ctx, "/peers", &ps)
}

// ask reads a JSON answer from the agent's socket into v.
func (a *Agent) ask(ctx context.Context, path string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", web.Socket(a.RunDir()))
	}}
	defer t.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://percaled"+path, nil)
	if err != nil {
		return err
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ask agent of %s: %w", a.node.Name(), err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask agent of %s for %s: %s", a.node.Name(), path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("read %s of agent of %s: %w", path, a.node.Name(), err)
	}
	return nil
}

// WaitReady blocks until the agent is ready and holds exactly that many peers.
func (a *Agent) WaitReady(ctx context.Context, peers int) error {
	return a.Wait(ctx, func(s status.Status) error {
		if !s.Ready || s.Peers.Wanted != peers || s.Peers.Programmed != peers {
			return fmt.Errorf("ready %v, waiting for %q, peers wanted %d, programmed %d; want ready with %d peers; problems %v",
				s.Ready, s.Waiting, s.Peers.Wanted, s.Peers.Programmed, peers, s.Problems)
		}
		return nil
	})
}

// Wait blocks until the agent's state pleases check. When ctx ends before, or
// the agent does, the error holds check's last one and the end of the log.
func (a *Agent) Wait(ctx context.Context, check func(status.Status) error) error {
	return a.node.lab.await(ctx, a.role(), func() error {
		s, err := a.Status(ctx)
		if err != nil {
			return err
		}
		return check(s)
	})
}
