// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata")

// proofOf makes a proof of that many pods where all is well.
func proofOf(pods int) Proof {
	p := Proof{MTU: 1450, Cells: make(map[[2]string]Cell)}
	for i := range pods {
		p.Pods = append(p.Pods, fmt.Sprintf("n%d-p%d", i/2+1, i%2+1))
	}
	for _, from := range p.Pods {
		for _, to := range p.Pods {
			if from != to {
				p.Cells[[2]string{from, to}] = Cell{From: from, To: to}
			}
		}
	}
	return p
}

func TestMatrix(t *testing.T) {
	bad := proofOf(4)
	bad.Cells[[2]string{"n1-p1", "n2-p1"}] = Cell{From: "n1-p1", To: "n2-p1",
		Faults: []string{"df", "tcp6"}, Why: []string{"packet too long", "connection refused"}}
	for name, p := range map[string]Proof{"ok": proofOf(6), "bad": bad, "wide": proofOf(20), "none": proofOf(0)} {
		t.Run(name, func(t *testing.T) {
			got := p.String()
			for line := range strings.Lines(got) {
				if len(line) > matrixWidth+1 {
					t.Errorf("line of %d columns: %q; want at most %d", len(line)-1, line, matrixWidth)
				}
			}
			golden := filepath.Join("testdata", "matrix-"+name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || got != string(want) {
				t.Errorf("matrix:\n%s\nwant %s (%v):\n%s", got, golden, err, want)
			}
		})
	}
}
