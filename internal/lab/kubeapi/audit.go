// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// A Request is what one request to the API server asked for.
type Request struct {
	User      string // such as system:serviceaccount:kube-percale:percale
	Verb      string // as RBAC names it: get, list, watch, patch …
	Group     string // "" for the core
	Resource  string // with its subresource, such as nodes/status; "" if Path is asked for
	Namespace string
	Name      string
	Path      string // without the query
	Query     string
	Code      int    // of the answer: 403 if refused
	Node      string // which the token named
	Agent     string // what the program that asked calls itself
	ID        string
}

// auditEvent is a line of the audit log, as far as it matters here.
type auditEvent struct {
	AuditID    string
	Verb       string
	RequestURI string
	UserAgent  string
	User       struct {
		Username string
		Extra    map[string][]string
	}
	ObjectRef      struct{ APIGroup, Resource, Subresource, Namespace, Name string }
	ResponseStatus struct{ Code int }
}

// Requests returns what was asked of the API server so far, in order of the
// answers. A watch, which is answered twice, when it begins and when it ends,
// stands there once it has begun.
func (p Plane) Requests() ([]Request, error) {
	f, err := os.Open(p.AuditLog())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAudit(f)
}

// readAudit reads an audit log; a last line that is not whole yet is left out.
func readAudit(r io.Reader) ([]Request, error) {
	lines := bufio.NewReader(r)
	seen := make(map[string]bool)
	var all []Request
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		var e auditEvent
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("read audit log: %w: %.200q", err, line)
		}
		if !seen[e.AuditID] {
			seen[e.AuditID] = true
			all = append(all, e.request())
		}
	}
}

func (e auditEvent) request() Request {
	o := e.ObjectRef
	r := Request{
		User: e.User.Username, Verb: e.Verb, Code: e.ResponseStatus.Code, ID: e.AuditID, Agent: e.UserAgent,
		Group: o.APIGroup, Resource: o.Resource, Namespace: o.Namespace, Name: o.Name,
	}
	if o.Subresource != "" {
		r.Resource += "/" + o.Subresource
	}
	if nodes := e.User.Extra["authentication.kubernetes.io/node-name"]; len(nodes) == 1 {
		r.Node = nodes[0]
	}
	r.Path, r.Query, _ = strings.Cut(e.RequestURI, "?")
	return r
}
