// SPDX-License-Identifier: Apache-2.0

package config

import "testing"

func TestInstance(t *testing.T) {
	for dir, want := range map[string]string{
		"/run/percale":        "percale",
		"/run/lab/n1/percale": "percale",
		"/run/percale-blue":   "percale-blue",
		"/run/blue":           "percale-blue",
		"/run/Blue Net_2":     "percale-blue-net-2",
		"/run/percaleblue":    "percale-percaleblue",
		"/":                   "percale--",
	} {
		if got := (Settings{RunDir: dir}).Instance(); got != want {
			t.Errorf("Instance for %s = %q; want %q", dir, got, want)
		}
	}
}
