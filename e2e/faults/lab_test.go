// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/labtest"
	"github.com/percale-net/percale/internal/netns"
)

// limit bounds each wait for what is only preparation.
const limit = time.Minute

func TestMain(m *testing.M) { os.Exit(labtest.Main(m)) }

// run runs a tool in a namespace and returns its standard output. On the other
// one ip tells of other labs' namespaces that go.
func run(t *testing.T, ns netns.NS, command string) string {
	t.Helper()
	words := strings.Fields(command)
	return output(t, ns, exec.Command(words[0], words[1:]...))
}

func output(t *testing.T, ns netns.NS, cmd *exec.Cmd) string {
	t.Helper()
	var out, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := ns.Do(cmd.Run); err != nil {
		t.Fatalf("%.500q in %s: %v: %.500s%.500s", cmd.Args, ns.Name(), err, out.String(), stderr.String())
	}
	return out.String()
}

// batch gives one ip process many commands, so that little time lies between
// them, and returns what it printed.
func batch(t *testing.T, ns netns.NS, options string, commands ...string) string {
	t.Helper()
	cmd := exec.Command("ip", append(strings.Fields(options), "-batch", "-")...)
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	return output(t, ns, cmd)
}

func eventually(t *testing.T, long time.Duration, check func() error) error {
	t.Helper()
	return labtest.Eventually(t, long, check)
}

func prove(t *testing.T, l *lab.Lab) {
	t.Helper()
	labtest.Prove(t, l)
}

// wait lets that much time pass, for faults that last.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}
