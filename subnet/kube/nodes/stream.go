// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// quietLimit bounds how long a watch may say nothing. The server sends a
	// bookmark about each minute.
	quietLimit = 150 * time.Second

	// A watch lasts from one to two times this. Each then finds the server that
	// is nearest by now, and the load spreads over servers that came back.
	watchTime = 5 * time.Minute
)

// An event is what a watch tells.
type event struct {
	kind string
	record
	ok  bool     // the record is one
	err *refusal // of an event ERROR
}

// watch tells of changes after a version through the channel that it returns,
// which is closed when the watch ends. Why tells why then: nil when the server
// has ended it.
func (c *client) watch(ctx context.Context, q query, version uint64, t trimmer) (events <-chan event, why func() error, err error) {
	seconds := int((watchTime + rand.N(watchTime)).Seconds())
	q.values = url.Values{
		"watch": {"1"}, "resourceVersion": {strconv.FormatUint(version, 10)},
		"allowWatchBookmarks": {"true"}, "timeoutSeconds": {strconv.Itoa(seconds)},
	}
	accept := metadataOnly
	if q.whole {
		accept = wholeNode
	}
	a, err := c.ask(ctx, accept, q)
	if err != nil {
		return nil, nil, err
	}
	out := make(chan event, 256)
	var end error
	go func() {
		defer close(out)
		defer a.Close()
		end = a.events(ctx, t, out, c.quiet)
	}()
	return out, func() error { return end }, nil
}

// events passes on what the watch says until it or ctx ends.
func (a *answer) events(ctx context.Context, t trimmer, out chan<- event, quiet time.Duration) error {
	frames, o := streamReader{r: a}, new(object)
	for {
		a.guard.Reset(quiet)
		var size [4]byte
		if _, err := io.ReadFull(a, size[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return silence(err)
		}
		frame, err := frames.bytes(uint64(binary.BigEndian.Uint32(size[:])))
		if err != nil {
			return silence(err)
		}
		e, err := decodeEvent(frame, &t, o)
		if err != nil {
			return fmt.Errorf("read an event: %w", err)
		}
		a.guard.Stop() // while nobody takes the event it is not the server that is silent
		select {
		case out <- e:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// silence names what no answer is within a watch.
func silence(err error) error {
	if err == errNoAnswer {
		return errSilent
	}
	return err
}

// decodeEvent reads a metav1.WatchEvent.
func decodeEvent(frame []byte, t *trimmer, o *object) (e event, err error) {
	var enveloped []byte
	err = fields(frame, func(num protowire.Number, val []byte) error {
		switch num {
		case 1:
			e.kind = cut(val, 16)
		case 2: // a RawExtension, with one field
			return fields(val, func(num protowire.Number, val []byte) error {
				if num == 1 {
					enveloped = val
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return event{}, err
	}
	msg, err := inner(enveloped)
	if err != nil {
		return event{}, err
	}
	if e.kind == "ERROR" {
		e.err = new(refusal)
		return e, e.err.decode(msg)
	}
	if err := o.decode(msg); err != nil {
		return event{}, err
	}
	e.record, e.ok = t.trim(o)
	if !e.ok { // a bookmark has no name
		e.version, _ = strconv.ParseUint(string(o.version), 10, 64)
	}
	return e, nil
}
