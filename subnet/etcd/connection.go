// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// errMoved says that Reconnect ended what was under way.
var errMoved = errors.New("a new connection is made")

// A connection is a client and how long it may be used.
type connection struct {
	client *clientv3.Client // nil before the first use
	ctx    context.Context  // ends with Reconnect and with Close
	end    context.CancelFunc
}

func newConnection(parent context.Context) connection {
	ctx, end := context.WithCancel(parent)
	return connection{ctx: ctx, end: end}
}

// Reconnect gives the connection up for a new one, which the next request
// makes. Call it when an address of this node has changed: TCP would wait for
// answers to an address that is gone. It may be called at any time and does not
// block. Requests under way are made again within their time limit, and Watch
// lists anew at once; neither calls that a fault unless it fails then.
func (s *Store) Reconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return // Close closes what there is
	}
	old := s.conn
	s.conn = newConnection(s.ctx)
	old.end()
	if old.client != nil {
		// It says goodbye first, for seconds where nobody can hear it.
		s.closing.Go(func() { old.client.Close() })
	}
}

// Close ends the connection, and with it all that is under way.
func (s *Store) Close() error {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing.Wait()
	if s.conn.client == nil {
		return nil
	}
	if err := s.conn.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close etcd store: %w", err)
	}
	return nil
}

func (s *Store) current() connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn
}

// dial returns the connection with its client. Making it asks the server only
// where there is a password, for a token; so it can fail and is then made anew.
// Of a connection that Reconnect has ended it returns the error errMoved.
func (s *Store) dial(ctx context.Context) (connection, error) {
	select {
	case <-ctx.Done():
		return connection{}, ctx.Err()
	case <-s.dialling:
		defer func() { s.dialling <- struct{}{} }()
	}
	conn := s.current()
	if conn.client != nil || s.ctx.Err() != nil {
		return conn, s.ctx.Err()
	}
	cfg := s.client
	own, cancel := context.WithCancel(conn.ctx)
	cfg.Context = own
	stop := context.AfterFunc(ctx, cancel) // ctx bounds the dialling, not the client
	c, err := clientv3.New(cfg)
	if err == nil && !stop() {
		c.Close()
		err = ctx.Err()
	}
	if err != nil {
		stop()
		cancel()
		switch {
		case ctx.Err() != nil:
			err = ctx.Err()
		case conn.ctx.Err() != nil && s.ctx.Err() == nil:
			err = errMoved
		}
		return connection{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if conn.ctx.Err() != nil { // Close or Reconnect was faster
		c.Close()
		return connection{}, cmp.Or(s.ctx.Err(), errMoved)
	}
	s.conn.client = c
	return s.conn, nil
}

// ask runs one request with its time limit, and explains its error. What
// Reconnect ended is asked again, so request must bear that.
func (s *Store) ask(ctx context.Context, what string, request func(context.Context, *clientv3.Client) error) error {
	limited, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	for {
		err := s.askOnce(limited, request)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, errMoved) || limited.Err() != nil || s.ctx.Err() != nil:
			return s.explain(what, err)
		}
	}
}

// askOnce returns errMoved where Reconnect ended the request.
func (s *Store) askOnce(ctx context.Context, request func(context.Context, *clientv3.Client) error) error {
	conn, err := s.dial(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(conn.ctx, cancel)
	defer stop()
	err = request(ctx, conn.client)
	if err != nil && conn.ctx.Err() != nil && s.ctx.Err() == nil {
		return fmt.Errorf("%w: %w", errMoved, err)
	}
	return err
}

// failFast makes a request fail with the cause, such as a refused connection or
// certificate, where the client would wait for a better time and then tell only
// that the time is up.
func failFast(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(ctx, method, req, reply, cc, append(opts, grpc.WaitForReady(false))...)
}
