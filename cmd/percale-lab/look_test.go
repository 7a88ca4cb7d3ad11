// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestToldRunDir(t *testing.T) {
	for _, test := range []struct{ argv, want string }{
		{"percale status -o json", "percale --run-dir=/r status -o json"},
		{"bin/percale", "bin/percale --run-dir=/r"},
		{"percale --run-dir=/x status", "percale --run-dir=/x status"},
		{"percale status --run-dir /x", "percale status --run-dir /x"},
		{"percaled --version", "percaled --version"},
		{"sh -c percale", "sh -c percale"},
	} {
		argv := strings.Fields(test.argv)
		if got := strings.Join(toldRunDir(argv, "/r"), " "); got != test.want {
			t.Errorf("toldRunDir(%q) = %q; want %q", test.argv, got, test.want)
		}
		if strings.Join(argv, " ") != test.argv {
			t.Errorf("toldRunDir changed its argument to %q", argv)
		}
	}
}
