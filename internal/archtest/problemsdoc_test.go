// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// partOfProblem is where the agent's code names the part that a problem is
// told of.
var partOfProblem = regexp.MustCompile(`(?:Fault\(|\.watch\(ctx, |\bpart[A-Z]\w* += )"([^"]+)"`)

// TestProblemsAreExplained wants docs/troubleshoot.md to say of each part what a
// problem with it means and what to do, in a row of its table.
func TestProblemsAreExplained(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/troubleshoot.md")
	if err != nil {
		t.Fatal(err)
	}
	var explained strings.Builder // the first column
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) == 5 {
			explained.WriteString(cells[1])
		}
	}
	files, err := filepath.Glob("../agent/*.go")
	if err != nil {
		t.Fatal(err)
	}
	parts := make(map[string]bool)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range partOfProblem.FindAllStringSubmatch(string(b), -1) {
			parts[m[1]] = true
		}
	}
	for part := range parts {
		if !strings.Contains(explained.String(), "`"+part+"`") {
			t.Errorf("docs/troubleshoot.md has no row for problems with %q", part)
		}
	}
	if len(parts) < 20 {
		t.Errorf("found %d parts in internal/agent; want 20 or more", len(parts))
	}
}
