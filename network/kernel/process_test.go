// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

func TestProcessOf(t *testing.T) {
	t.Parallel()
	for port, want := range map[uint32]int{
		0: 0, 1: 1, 812: 812,
		7<<22 | 812:  812, // a further socket of libnl
		1<<32 - 5000: 0,   // of the kernel's choice
	} {
		if got := processOf(port); got != want {
			t.Errorf("processOf(%d) = %d; want %d", port, got, want)
		}
	}
}

func TestWhoIs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for pid, text := range map[string]string{
		"1":   "Name:\tsystemd\nPPid:\t0\nNSpid:\t1\n",
		"812": "Name:\tbird\nUmask:\t0022\nPPid:\t1\nNSpid:\t812\n",
		"900": "Name:\tevil\x1b[2J\nPPid:\t1\nNSpid:\t900\n",
		"901": "Name:\tip\nPPid:\t812\nNSpid:\t901\n",
		"902": "Name:\tpause\nPPid:\t1\nNSpid:\t902\t7\n",
		"903": "",
	} {
		if err := os.MkdirAll(filepath.Join(dir, pid), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, pid, "status"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		pid    int
		name   string
		number int
	}{
		{812, "bird", 812},
		{901, "ip, child of 812 (bird)", 901},
		{900, "evil?[2J", 900},
		{77, "", 77},         // gone
		{903, "", 903},       // going
		{902, "", 0},         // has another number where it lives
		{1, "", 0},           // every container has one
		{os.Getpid(), "", 0}, // not we
		{0, "", 0},
	} {
		if name, number := whoIs(dir, tt.pid); name != tt.name || number != tt.number {
			t.Errorf("whoIs(%d) = %q, %d; want %q, %d", tt.pid, name, number, tt.name, tt.number)
		}
	}
}

// The kernel writes the file as parseProcess reads it.
func TestReadProcess(t *testing.T) {
	t.Parallel()
	p, ok := readProcess(procDir, os.Getpid())
	if !ok || p.name == "" || p.parent != os.Getppid() {
		t.Errorf("of this process is read %+v, %t; want a name and the parent %d", p, ok, os.Getppid())
	}
}

func FuzzParseProcess(f *testing.F) {
	f.Add("Name:\tbird\nPPid:\t1\nNSpid:\t812\n")
	f.Add("Name:\nPPid:\tx\nNSpid:")
	f.Fuzz(func(t *testing.T, text string) {
		p := parseProcess(text)
		if strings.ContainsFunc(p.name, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("name %q of %q drives a terminal", p.name, text)
		}
	})
}
