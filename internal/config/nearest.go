// SPDX-License-Identifier: Apache-2.0

package config

import "strings"

// nearest returns the candidate that a misspelt word was meant to be, or "" if
// none is near. Case does not matter; of equally near ones the first is taken.
func nearest(word string, candidates []string) string {
	if len(word) > 64 {
		return ""
	}
	word = strings.ToLower(word)
	best, found := max(1, len(word)/3)+1, ""
	for _, c := range candidates {
		if d := distance(word, strings.ToLower(c)); d < best {
			best, found = d, c
		}
	}
	return found
}

// distance counts the bytes to insert, delete or replace to turn a into b
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
