// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
)

// procDir lists the processes of our PID namespace.
const procDir = "/proc"

// processOf returns the process that owns a netlink port: its number, or with
// libnl its number in the lower 22 bits. Further sockets of a process have
// arbitrary ports with the highest bit set, and yield 0.
func processOf(port uint32) int {
	const bits = 22
	if port >= 1<<31 {
		return 0
	}
	return int(port & (1<<bits - 1))
}

// A process is what is said of one in its status file.
type process struct {
	name   string // at most 15 bytes, chosen by the process
	parent int
	nested bool // lives in a PID namespace below ours, where it has another number
}

// whoIs names the process that calls itself pid: "bird", or "ip, child of 812
// (sh)", since tools are gone before anybody can look. No name: there is no
// such process. Zero: it cannot be told, because the number is one that
// processes of several namespaces have.
func whoIs(dir string, pid int) (name string, number int) {
	if pid <= 1 || pid == os.Getpid() {
		return "", 0
	}
	p, ok := readProcess(dir, pid)
	if !ok {
		return "", pid
	}
	if p.nested {
		return "", 0
	}
	if parent, ok := readProcess(dir, p.parent); ok && p.parent > 1 {
		return p.name + ", child of " + strconv.Itoa(p.parent) + " (" + parent.name + ")", pid
	}
	return p.name, pid
}

func readProcess(dir string, pid int) (process, bool) {
	b, err := os.ReadFile(filepath.Join(dir, strconv.Itoa(pid), "status"))
	if err != nil {
		return process{}, false
	}
	return parseProcess(string(b)), true
}

// parseProcess reads a status file of /proc (proc_pid_status(5)).
func parseProcess(text string) process {
	var p process
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Name":
			p.name = printable(value)
		case "PPid":
			p.parent, _ = strconv.Atoi(value)
		case "NSpid":
			p.nested = len(strings.Fields(value)) > 1
		}
	}
	return p
}

// printable keeps a name that a process chose from driving a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
