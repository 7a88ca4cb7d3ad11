// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// faultRow is a row of a table in docs/flannel-faults.md: a fault, what Percale
// does, and the tests that show it.
var faultRow = regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`)

// shownBy is one test in the last column.
var shownBy = regexp.MustCompile("^`([a-z0-9/-]+): (Test[A-Za-z0-9]+)(?:/([^`]+))?`$")

// TestFaultsOfFlannelAreShown wants each row of docs/flannel-faults.md to name
// tests that exist.
func TestFaultsOfFlannelAreShown(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/flannel-faults.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, row := range faultRow.FindAllStringSubmatch(string(page), -1) {
		if row[1] == "With flannel" {
			continue
		}
		rows++
		for name := range strings.SplitSeq(row[3], "`, `") {
			if err := testExists("`" + strings.Trim(name, "`") + "`"); err != nil {
				t.Errorf("%q: %v", row[1], err)
			}
		}
	}
	if lines := strings.Count(string(page), "\n| "); rows < 25 || lines != rows+6 {
		t.Errorf("%d rows in %d lines of tables; want 25 rows or more, and one line for each and for the heads of 6 tables", rows, lines)
	}
}

// testExists reports as an error that a test, as the page names it, is not
// there, or has no such case. A case's name stands in the test's package as it
// is.
func testExists(name string) error {
	m := shownBy.FindStringSubmatch(name)
	if m == nil {
		return fmt.Errorf("%s: want a package, a test, and perhaps a slash and a case of it", name)
	}
	files, err := filepath.Glob(filepath.Join("../..", m[1], "*_test.go"))
	if err != nil {
		return err
	}
	found, named := false, m[3] == ""
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		found = found || strings.Contains(string(b), "\nfunc "+m[2]+"(t *testing.T) {")
		named = named || strings.Contains(string(b), `"`+m[3]+`"`)
	}
	switch {
	case !found:
		return fmt.Errorf("%s: package %s has no test %s", name, m[1], m[2])
	case !named:
		return fmt.Errorf("%s: package %s has no test with a case %q", name, m[1], m[3])
	}
	return nil
}

func TestTestExists(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"`internal/archtest: TestTestExists`":                           "",
		"`internal/archtest: TestFaultsOfFlannelAreShown/With flannel`": "",
		"`internal/archtest: TestAbsent`":                               "has no test TestAbsent",
		"`internal/absent: TestTestExists`":                             "has no test TestTestExists",
		"`internal/archtest: TestTestExists/" + "not a case`":           "no test with a case",
		"`TestTestExists`":                                              "want a package",
		"internal/archtest: TestTestExists":                             "want a package",
	} {
		if err := testExists(name); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("testExists(%s) = %v; want %q", name, err, want)
		}
	}
}
