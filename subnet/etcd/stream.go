// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// errBroken says that a watch ended with its connection.
var errBroken = errors.New("the connection of the watch has broken")

// isBroken reports whether a watch tells that it ended with its connection.
func isBroken(err error) bool { return err != nil && strings.Contains(err.Error(), errBroken.Error()) }

// streamKey is the key of the *atomic.Bool that withOneStream adds.
type streamKey struct{}

// withOneStream makes a watch end with its stream. The client would open
// another one by itself and go on from a revision that a restored etcd reaches
// only later: what it holds by then would never be told.
func withOneStream(ctx context.Context) context.Context {
	return context.WithValue(ctx, streamKey{}, new(atomic.Bool))
}

// failBroken refuses a second stream to who asked for one only. The code is one
// that the client takes as final.
func failBroken(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	opened, limited := ctx.Value(streamKey{}).(*atomic.Bool)
	if limited && opened.Load() {
		return nil, status.Error(codes.Aborted, errBroken.Error())
	}
	stream, err := open(ctx, desc, cc, method, opts...)
	if limited && err == nil {
		opened.Store(true)
	}
	return stream, err
}

// pump passes on what a watch tells through a buffer, so that a burst queues up
// where it can be seen at once. It ends with ctx or the watch.
func pump(ctx context.Context, watch func() clientv3.WatchChan) <-chan clientv3.WatchResponse {
	out := make(chan clientv3.WatchResponse, 1024)
	go func() {
		defer close(out)
		for resp := range watch() { // which blocks until a server has answered
			select {
			case out <- resp:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// lost is closed when no endpoint can be reached. The client waits then, and
// tells nobody.
func lost(ctx context.Context, c *clientv3.Client) <-chan struct{} {
	out := make(chan struct{})
	go func() {
		conn := c.ActiveConnection()
		for more := true; more; {
			state := conn.GetState() // it may be lost already, and stay so
			if state == connectivity.TransientFailure {
				close(out)
				return
			}
			more = conn.WaitForStateChange(ctx, state)
		}
	}()
	return out
}
