// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"fmt"
	"os"
	"sync/atomic"
)

// A TB is what Temp needs of a *testing.T or *testing.B.
type TB interface {
	Helper()
	Fatal(args ...any)
	Error(args ...any)
	Cleanup(func())
}

var serial atomic.Int64

// Temp makes a namespace for one test, loopback up, and deletes it after. It
// fails the test where namespaces cannot be made.
func Temp(tb TB) NS {
	tb.Helper()
	ns, err := Create(fmt.Sprintf("pt-%d-%d", os.Getpid(), serial.Add(1)))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := ns.Delete(); err != nil {
			tb.Error(err)
		}
	})
	return ns
}
