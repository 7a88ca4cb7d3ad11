// SPDX-License-Identifier: Apache-2.0

package local

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
)

// maxReason bounds the reason of a Waiting, in bytes.
const maxReason = 500

// A Waiting is why the agent cannot get ready, for whom it keeps waiting: the
// CNI plugin puts it into the error that a pod's events show.
type Waiting struct {
	Reason string    // one line of printable text, such as "no /coreos.com/network/config in etcd"
	Since  time.Time // when the agent came to this reason
}

// WriteWaiting leaves the reason in the agent's run directory. The same reason
// again changes nothing, so that Since stays.
func WriteWaiting(runDir, reason string) error {
	return writeFile(filepath.Join(runDir, "waiting"), []byte(oneLine(reason)+"\n"))
}

// ClearWaiting says that the agent is ready. It may be repeated.
func ClearWaiting(runDir string) error {
	err := os.Remove(filepath.Join(runDir, "waiting"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ReadWaiting returns what the agent waits for, and whether it left that.
func ReadWaiting(runDir string) (Waiting, bool) {
	path := filepath.Join(runDir, "waiting")
	b, err := readFile(path, maxEnv)
	if err != nil {
		return Waiting{}, false
	}
	fi, err := os.Stat(path)
	reason := oneLine(string(b))
	if err != nil || reason == "" {
		return Waiting{}, false
	}
	return Waiting{Reason: reason, Since: fi.ModTime()}, true
}

// oneLine makes s one line of printable text of at most maxReason bytes: it
// may quote what others sent.
func oneLine(s string) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason-len("…")], "") + "…"
	}
	return s
}
