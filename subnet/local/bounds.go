// SPDX-License-Identifier: Apache-2.0

package local

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/percale-net/percale/subnet/ipam"
)

// boundsPath names the file that tells, in lines of first-last, which addresses
// of the node's subnets pods get: only percale-cni knows its configuration, and
// whoever counts addresses must know how many there are. Without the file it is
// all of them. That it cannot be written or read costs only the count.
func (s Store) boundsPath() string { return filepath.Join(s.dir, "percale.ranges") }

// noteBounds makes the file tell of ranges. The lock is held.
func (s Store) noteBounds(ranges []ipam.Range) {
	var b strings.Builder
	for _, r := range ranges {
		for _, span := range r.Bounds() {
			b.WriteString(span.String() + "\n")
		}
	}
	if b.Len() == 0 {
		_ = os.Remove(s.boundsPath())
		return
	}
	_ = writeFile(s.boundsPath(), []byte(b.String()))
}

// bounds is the inverse of noteBounds; nil if no file is there, or none that
// makes sense.
func (s Store) bounds() []ipam.Span {
	b, err := readFile(s.boundsPath(), maxEntry)
	if err != nil {
		return nil
	}
	return parseBounds(string(b))
}

func parseBounds(text string) []ipam.Span {
	var all []ipam.Span
	for line := range strings.Lines(text) {
		span, err := ipam.ParseSpan(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil
		}
		all = append(all, span)
	}
	return all
}
