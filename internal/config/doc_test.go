// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// page reads docs/configure.md.
func page(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/configure.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tableRow is the name and the default in a table of the page.
var tableRow = regexp.MustCompile("(?m)^\\| `(--)?([A-Za-z0-9_-]+)` \\| ([^|]*) ?\\|")

func TestPageHasEveryFlag(t *testing.T) {
	t.Parallel()
	d := defaults()
	var names []string
	defaultOf := make(map[string]string)
	for _, o := range options(&d) {
		names = append(names, o.name)
		defaultOf[o.name] = o.show()
	}
	var told []string
	for _, m := range tableRow.FindAllStringSubmatch(page(t), -1) {
		if m[1] == "" {
			continue
		}
		told = append(told, m[2])
		text := strings.Trim(m[3], "` ")
		want, ok := defaultOf[m[2]]
		if !ok {
			t.Errorf("the page has --%s, which is no flag", m[2])
		}
		if words := want == "" || m[2] == "version"; !words && text != want {
			t.Errorf("the page says that --%s is %q by default; want %q", m[2], text, want)
		}
	}
	if !slices.Equal(told, names) {
		t.Errorf("flags on the page, in order: %q\nwant %q", told, names)
	}
}

func TestPageHasEveryKey(t *testing.T) {
	t.Parallel()
	netConf, _, _ := strings.Cut(page(t), "\n## CNI configuration\n") // the plugin's keys are another's to check
	var told []string
	for _, m := range tableRow.FindAllStringSubmatch(netConf, -1) {
		if m[1] == "" {
			told = append(told, m[2])
		}
	}
	if want := slices.Concat(netConfKeys, vxlanKeys); !slices.Equal(told, want) {
		t.Errorf("keys on the page, in order: %q\nwant %q", told, want)
	}
	text := page(t)
	for _, word := range slices.Concat(vxlanKeysElsewhere, hostGWKeysElsewhere) {
		if !strings.Contains(text, "`"+word+"`") {
			t.Errorf("the page does not tell of %s", word)
		}
	}
}

func TestExamplesOnPageAreValid(t *testing.T) {
	t.Parallel()
	examples := regexp.MustCompile("(?s)```json\n(.*?)```|config '(\\{.*?\\})'").FindAllStringSubmatch(page(t), -1)
	if len(examples) < 5 {
		t.Errorf("%d examples found on the page; want 5 or more", len(examples))
	}
	for _, e := range examples {
		if _, err := ParseNetConf([]byte(e[1] + e[2])); err != nil {
			t.Errorf("example %s%s: %v", e[1], e[2], err)
		}
	}
}

// The table of networks is checked against the code, too.
func TestNetworksOnPage(t *testing.T) {
	t.Parallel()
	rows := regexp.MustCompile(`(?m)^\| ([0-9a-f.:]+/\d+) \| (\d+) \| (\S+) \| (\S+) \|$`).FindAllStringSubmatch(page(t), -1)
	if len(rows) != 5 {
		t.Errorf("%d networks in the table; want 5", len(rows))
	}
	for _, r := range rows {
		conf, f := `{"Network":"`+r[1]+`"}`, ipv4
		if strings.Contains(r[1], ":") {
			conf, f = `{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"`+r[1]+`"}`, ipv6
		}
		c, err := ParseNetConf([]byte(conf))
		p := c.Pools.V4
		if f.name == "IPv6" {
			p = c.Pools.V6
		}
		got := strings.Join([]string{p.Network.String(), strconv.Itoa(p.Len), p.Min.String(), p.Max.String()}, " ")
		if want := normal(strings.Join(r[1:], " ")); err != nil || got != want {
			t.Errorf("%s: %s, %v; the page says %s", r[1], got, err, want)
		}
	}
}
