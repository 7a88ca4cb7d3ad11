// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	nft "github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Prune ends the guarding of those of the guarded ports that gone returns, which
// it asks after it has read them.
func Prune(gone func(ports []string) ([]string, error)) error {
	c, err := dial()
	if errors.Is(err, ErrNoNFTables) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("prune guards: %w", err)
	}
	defer c.CloseLasting()
	p, have := newPods(nil), make(map[*set]keys)
	ports := make(map[string]bool)
	for _, t := range p.tables() {
		content, err := t.read(c)
		if errors.Is(err, ErrNoNFTables) || err == nil && content == nil {
			continue
		}
		if err != nil {
			return fmt.Errorf("prune guards: %w", err)
		}
		for _, s := range t.sets {
			have[s] = content.elements[s.Name]
			for k := range have[s] {
				ports[portOf(k)] = true
			}
		}
	}
	lost, err := gone(slices.Sorted(maps.Keys(ports)))
	if err != nil {
		return fmt.Errorf("prune guards: %w", err)
	}
	is := make(map[string]bool, len(lost))
	for _, port := range lost {
		is[port] = true
	}
	for s, elements := range have {
		var all []nft.SetElement
		for k := range elements {
			if is[portOf(k)] {
				all = append(all, nft.SetElement{Key: []byte(k)})
			}
		}
		if err := each(c, all, s.del); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("prune guards: %w", err)
		}
	}
	return nil
}

// portOf returns the port that an element is about.
func portOf(key string) string {
	name, _, _ := strings.Cut(key[:min(len(key), unix.IFNAMSIZ)], "\x00")
	return name
}
