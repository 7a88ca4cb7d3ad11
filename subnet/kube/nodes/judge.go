// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"errors"
	"net/http"
	"time"
)

// judge tells of the end of a turn what is a fault, and returns how long the
// server wants us to wait.
func (f *feed) judge(err error) (after time.Duration) {
	var r *refusal
	if errors.As(err, &r) {
		after = r.after
	}
	lasted := !f.watching.IsZero() && !f.brief
	switch {
	case r != nil && r.expired() && !f.fresh: // usual after hours without the server
		f.next = 0
	case r != nil && r.expired():
		f.next = 0
		f.failed(err)
	case !lasted && err == nil:
		f.failed(errEnded)
	case !lasted || r != nil:
		f.failed(err)
	}
	return after
}

// failed tells what went wrong, unless that has been told or may pass by itself.
func (f *feed) failed(err error) {
	var r *refusal
	if f.denial.Passes(errors.As(err, &r) && r.code == http.StatusForbidden) {
		return
	}
	if g := Gist(err); g != f.fault {
		f.fault = g
		f.fail(f.client.explain(f.query.what(), err))
	}
}

// well tells that all is well, unless that has been told.
func (f *feed) well() {
	f.denial.Passes(false)
	if f.fault != "" {
		f.fault = ""
		f.fail(nil)
	}
}
