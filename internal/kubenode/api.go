// SPDX-License-Identifier: Apache-2.0

package kubenode

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"k8s.io/client-go/rest"
)

// requestTimeout bounds each request, and maxBody what is read of its answer, in
// bytes. (etcd keeps no object that is larger.)
const (
	requestTimeout = 10 * time.Second
	maxBody        = 2 << 20
)

// An api sends single requests.
type api struct {
	http    *http.Client
	base    *url.URL
	timeout time.Duration
}

func newAPI(c *rest.Config) (*api, error) {
	base, _, err := rest.DefaultServerUrlFor(c)
	if err != nil {
		return nil, fmt.Errorf("reach the API server: %w", err)
	}
	h, err := rest.HTTPClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("reach the API server: %w", err)
	}
	return &api{h, base, requestTimeout}, nil
}

// A request is one that is no watch.
type request struct {
	verb  string   // of HTTP
	path  []string // not escaped
	kind  string   // of the body
	body  any      // goes as JSON; nil: none
	brief bool     // the answer shall be the object's metadata only
}

// do sends a request and returns the answer. An answer of failure is an error
// of type *refusal.
func (a *api) do(ctx context.Context, r request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	req, err := a.compose(ctx, r)
	if err != nil {
		return nil, err
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, refusalOf(resp.StatusCode, b)
	}
	return b, nil
}

func (a *api) compose(ctx context.Context, r request) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	parts := make([]string, len(r.path))
	for i, p := range r.path {
		parts[i] = url.PathEscape(p)
	}
	req, err := http.NewRequestWithContext(ctx, r.verb, a.base.JoinPath(parts...).String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if r.brief {
		req.Header.Set("Accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
	}
	if r.kind != "" {
		req.Header.Set("Content-Type", r.kind)
	}
	return req, nil
}

// A refusal is what the API server answered instead of what was asked for.
type refusal struct {
	code    int // of HTTP
	message string
}

func refusalOf(code int, body []byte) *refusal {
	var status struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(body, &status) // a proxy between us may answer with anything
	return &refusal{code, oneLine(cmp.Or(status.Message, http.StatusText(code)))}
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("the API server says %d: %s", r.code, r.message)
	switch r.code {
	case http.StatusUnauthorized:
		text += ": its token is not valid there: look whether --kubeconfig-file is of this cluster, or delete the pod of percaled, which then gets another"
	case http.StatusForbidden:
		text += ": give percaled its rights: kubectl apply -f the manifest that it came with"
	}
	return text
}

// is reports whether err is an answer with that code.
func is(err error, code int) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.code == code
}
