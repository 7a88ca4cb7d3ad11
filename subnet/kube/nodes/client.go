// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"k8s.io/client-go/rest"
)

const (
	binaryType   = "application/vnd.kubernetes.protobuf"
	wholeNode    = binaryType
	metadataOnly = binaryType + ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
	metadataList = binaryType + ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
)

const (
	// answerLimit bounds the wait for an answer's beginning, and for its next
	// object. The server lets a request wait its turn for up to a minute.
	answerLimit = 70 * time.Second

	// listLimit bounds a list, which may be tens of megabytes.
	listLimit = 5 * time.Minute
)

var (
	errNoAnswer = errors.New("no answer")
	errSilent   = errors.New("the watch has fallen silent")
	errEnded    = errors.New("the watch has ended at once")
)

// A client asks one API server for Nodes. Its methods may be called concurrently.
type client struct {
	http          *http.Client
	base          *url.URL
	answer, quiet time.Duration // answerLimit and quietLimit
}

func newClient(cfg *rest.Config) (*client, error) {
	own := rest.CopyConfig(cfg)
	own.Timeout = 0 // it would end a watch, too
	hc, err := rest.HTTPClientFor(own)
	if err != nil {
		return nil, fmt.Errorf("set up the Kubernetes client: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(own)
	if err != nil {
		return nil, fmt.Errorf("set up the Kubernetes client: address %q: %w", cfg.Host, err)
	}
	return &client{http: hc, base: base, answer: answerLimit, quiet: quietLimit}, nil
}

// A query is what to ask for.
type query struct {
	name   string // of one Node; "": of all
	whole  bool   // not the metadata only
	leases string // Lease objects in this namespace; "": Nodes
	labels string // label selector; "": any
	values url.Values
}

// what names the objects, as errors and rights do.
func (q query) what() string {
	if q.leases != "" {
		return "Lease objects in namespace " + q.leases
	}
	return "Nodes"
}

// url returns where on the server at base to ask.
func (q query) url(base *url.URL) *url.URL {
	target := base.JoinPath("api", "v1", "nodes")
	if q.leases != "" {
		target = base.JoinPath("apis", "coordination.k8s.io", "v1", "namespaces", q.leases, "leases")
	}
	if q.name != "" {
		q.values.Set("fieldSelector", "metadata.name="+q.name)
	}
	if q.labels != "" {
		q.values.Set("labelSelector", q.labels)
	}
	target.RawQuery = q.values.Encode()
	return target
}

// An answer is the body of a response that was successful. It must be closed.
type answer struct {
	*bufio.Reader
	body   io.Closer
	guard  *time.Timer
	cancel context.CancelCauseFunc
}

func (a *answer) Close() error {
	a.guard.Stop()
	a.cancel(nil)
	return a.body.Close()
}

// ask returns the answer to a request. It ends with ctx, and with errNoAnswer
// as its cause unless its guard is set again in time.
func (c *client) ask(ctx context.Context, accept string, q query) (*answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	guard := time.AfterFunc(c.answer, func() { cancel(errNoAnswer) })
	resp, err := c.send(ctx, accept, q)
	if err != nil {
		guard.Stop()
		err = because(ctx, err)
		cancel(nil)
		return nil, err
	}
	return &answer{bufio.NewReaderSize(bodyOf(ctx, resp), 16<<10), resp.Body, guard, cancel}, nil
}

func (c *client) send(ctx context.Context, accept string, q query) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, q.url(c.base).String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	resp, err := c.http.Do(req)
	if err != nil {
		if inner := new(url.Error); errors.As(err, &inner) {
			err = inner.Err // the address says nothing new, and changes with each request
		}
		return nil, err
	}
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode == http.StatusOK && !strings.HasPrefix(kind, binaryType) {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: it sends %s", errServer, cut([]byte(strconv.Quote(kind)), 64))
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, refusalOf(resp)
	}
	return resp, nil
}

// bodyOf is the body of resp, whose errors tell why ctx has ended.
func bodyOf(ctx context.Context, resp *http.Response) io.Reader {
	return readerFunc(func(b []byte) (int, error) {
		n, err := resp.Body.Read(b)
		return n, because(ctx, err)
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// because returns why ctx has ended, if it has, instead of err.
func because(ctx context.Context, err error) error {
	if err != nil && err != io.EOF && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// refusalOf reads what a response says that is not successful.
func refusalOf(resp *http.Response) error {
	r := &refusal{code: resp.StatusCode}
	if after, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && after > 0 {
		r.after = time.Duration(min(after, 60)) * time.Second
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if status, err2 := inner(body); err == nil && err2 == nil && r.decode(status) == nil {
		return r
	}
	var status struct{ Message, Reason string } // what refuses us before the server knows what we accept, says it in JSON
	if json.Unmarshal(body, &status) == nil && status.Message != "" {
		r.message, r.reason = cut([]byte(status.Message), 500), cut([]byte(status.Reason), 64)
		return r
	}
	r.message = cut([]byte(strings.Join(strings.Fields(string(body)), " ")), 200)
	return r
}

// A refusal is a metav1.Status: what the API server says that went wrong.
type refusal struct {
	code            int // of HTTP; 0 within a watch
	reason, message string
	tooNew          bool          // the version asked for is one that the server does not know yet
	after           time.Duration // how long to wait at least
}

func (r *refusal) Error() string {
	switch {
	case r.message != "":
		return r.message
	case r.reason != "":
		return r.reason
	}
	return "HTTP status " + strconv.Itoa(r.code)
}

// expired reports whether the server no longer knows the version asked for.
func (r *refusal) expired() bool {
	return r.code == http.StatusGone || r.reason == "Expired" || r.reason == "Gone"
}

func (r *refusal) decode(msg []byte) error {
	return fields(msg, func(num protowire.Number, val []byte) error {
		switch num {
		case 3:
			r.message = cut(val, 500)
		case 4:
			r.reason = cut(val, 64)
		case 5:
			return r.details(val)
		}
		return nil
	})
}

// details reads a StatusDetails for its causes, the first field of which is
// their type.
func (r *refusal) details(msg []byte) error {
	return fields(msg, func(num protowire.Number, val []byte) error {
		if num != 4 {
			return nil
		}
		return fields(val, func(num protowire.Number, val []byte) error {
			r.tooNew = r.tooNew || num == 1 && string(val) == "ResourceVersionTooLarge"
			return nil
		})
	})
}
