// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestDenial: that rights are missing is told when that lasts, and not while a
// server that has just started reads them.
func TestDenial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var faults []error
		f := feed{client: &client{base: new(url.URL)}, fail: func(err error) { faults = append(faults, err) }}
		denied := &refusal{code: http.StatusForbidden, message: "no"}
		f.failed(denied)
		time.Sleep(loading - 1) // of synctest
		f.failed(denied)
		f.well()
		f.failed(denied)
		time.Sleep(loading - 1)
		f.failed(denied)
		if len(faults) != 0 {
			t.Errorf("faults %v; want none yet", faults)
		}
		f.failed(errors.New("away"))
		f.failed(denied)
		time.Sleep(loading)
		f.failed(denied)
		if len(faults) != 2 || !strings.Contains(faults[1].Error(), "does not let us read them") {
			t.Errorf("faults %v; want that the server was away, and then the want of rights", faults)
		}
	})
}
