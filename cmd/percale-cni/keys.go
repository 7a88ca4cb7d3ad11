// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
)

// checkKeys asks check about every key of a JSON object, in lower case, since
// case does not matter, and returns the first complaint in order of key.
func checkKeys(within string, raw json.RawMessage, check func(key string, value json.RawMessage) (why string)) error {
	var object map[string]json.RawMessage
	if err := decode(within, raw, &object); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if why := check(strings.ToLower(key), object[key]); why != "" {
			return codef(types.ErrUnsupportedField, "network configuration: %s%.60s: %s", within, key, why)
		}
	}
	return nil
}

// unknownKey says that a key is not known, and which one may be meant.
func unknownKey(key string, known ...string) string {
	best, least := "", len(key)/2+1
	for _, k := range known {
		if d := distance(key, strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return "no such key: there are " + strings.Join(known, ", ")
	}
	return fmt.Sprintf("no such key: did you mean %s?", best)
}

// distance returns how many bytes must be added, removed or changed to turn a
// into b (Levenshtein). It looks at no more than 60 bytes of each.
func distance(a, b string) int {
	a, b = a[:min(len(a), 60)], b[:min(len(b), 60)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
