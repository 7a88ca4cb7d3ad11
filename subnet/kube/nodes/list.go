// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// pageSize bounds the Nodes of one answer where the server reads them from etcd.
const pageSize = 500

// A listing is what one list says.
type listing struct {
	records map[string]record
	omitted omissions
	version uint64 // the list's resourceVersion; 0: it is no number
	more    string // the token of the next page
}

// list reads all Nodes that q asks for, page by page. Half a list is an error.
// A server that reads from memory takes no notice of the page's size.
func (c *client) list(ctx context.Context, q query, t trimmer) (listing, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, listLimit, errNoAnswer)
	defer cancel()
	all := listing{records: make(map[string]record)}
	if q.values == nil {
		q.values = url.Values{}
	}
	for {
		if err := c.page(ctx, q, &t, &all); err != nil {
			return listing{}, err
		}
		if all.more == "" {
			return all, nil
		}
		// The token holds the version, and what the versions must be like.
		q.values = url.Values{"limit": {strconv.Itoa(pageSize)}, "continue": {all.more}}
	}
}

// page reads one answer into l.
func (c *client) page(ctx context.Context, q query, t *trimmer, l *listing) error {
	accept := metadataList
	if q.whole {
		accept = wholeNode
	}
	a, err := c.ask(ctx, accept, q)
	if err != nil {
		return err
	}
	defer a.Close()
	l.more = ""
	if err := l.read(a, t, func() { a.guard.Reset(c.answer) }); err != nil {
		return fmt.Errorf("read the list: %w", err)
	}
	return nil
}

// read takes a NodeList or PartialObjectMetadataList, object by object, and
// calls alive for each.
func (l *listing) read(r interface {
	io.Reader
	io.ByteReader
}, t *trimmer, alive func()) error {
	var prefix [4]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return unended(err)
	}
	if string(prefix[:]) != string(magic) {
		return errors.New("it is not in Kubernetes' binary encoding")
	}
	whole := &streamReader{r: r}
	for found := false; ; {
		num, size, err := whole.field()
		switch {
		case err == io.EOF && found:
			return nil
		case err != nil:
			return unended(err)
		case num == 2 && !found: // the list itself
			found = true
			limited := &limitedReader{whole.r, size}
			if err := l.readItems(&streamReader{r: limited}, t, alive); err != nil {
				return err
			}
			if limited.n > 0 {
				return io.ErrUnexpectedEOF
			}
		case num > 0:
			if _, err := whole.bytes(size); err != nil {
				return err
			}
		}
	}
}

func (l *listing) readItems(s *streamReader, t *trimmer, alive func()) error {
	var o object
	for {
		num, size, err := s.field()
		if err == io.EOF {
			return nil
		}
		var val []byte
		if err == nil && num > 0 {
			val, err = s.bytes(size)
		}
		if err == nil && num == 1 {
			err = l.decodeMeta(val)
		}
		if err == nil && num == 2 {
			alive()
			if err = o.decode(val); err == nil {
				l.add(t.trim(&o))
			}
		}
		if err != nil {
			return err
		}
	}
}

// add takes a Node, unless there are too many.
func (l *listing) add(r record, ok bool) {
	if _, known := l.records[r.Name]; !ok || !known && len(l.records) >= maxNodes {
		l.omitted.add(r.Name)
		return
	}
	l.records[r.Name] = r
}

// decodeMeta reads a ListMeta.
func (l *listing) decodeMeta(msg []byte) error {
	return fields(msg, func(num protowire.Number, val []byte) error {
		switch num {
		case 2:
			l.version, _ = strconv.ParseUint(string(val), 10, 64)
		case 3:
			l.more = string(val)
		}
		return nil
	})
}

// A limitedReader ends after n bytes; what ends before is no whole message.
type limitedReader struct {
	r interface {
		io.Reader
		io.ByteReader
	}
	n uint64
}

func (l *limitedReader) Read(b []byte) (int, error) {
	if l.n == 0 {
		return 0, io.EOF
	}
	n, err := l.r.Read(b[:min(uint64(len(b)), l.n)])
	l.n -= uint64(n)
	return n, unended(err)
}

func (l *limitedReader) ReadByte() (byte, error) {
	if l.n == 0 {
		return 0, io.EOF
	}
	b, err := l.r.ReadByte()
	if err == nil {
		l.n--
	}
	return b, unended(err)
}
