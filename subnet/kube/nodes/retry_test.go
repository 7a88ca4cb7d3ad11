// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"testing"
	"time"
)

// TestRetryLimit wants few agents to be back soon after their server, and many
// not to come all at once.
func TestRetryLimit(t *testing.T) {
	t.Parallel()
	for nodes, want := range map[int]time.Duration{
		0: 2 * time.Second, 200: 3 * time.Second, 1000: 7 * time.Second, 5600: maxRetry, 1_000_000: maxRetry,
	} {
		if got := retryLimit(nodes); got != want {
			t.Errorf("retryLimit(%d) = %v; want %v", nodes, got, want)
		}
	}
}
