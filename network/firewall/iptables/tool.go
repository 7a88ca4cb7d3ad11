// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/coreos/go-iptables/iptables"

	"github.com/percale-net/percale/network/firewall"
)

// ErrNoTool says that the iptables programs are not there.
var ErrNoTool = errors.New(`iptables mode needs iptables in PATH: apt-get install iptables, or remove "Firewall": "iptables"`)

// lockSeconds is how long to wait while another program changes rules.
const lockSeconds = "10"

// A tool is iptables or ip6tables.
type tool struct {
	save, restore string // paths
	random        bool   // knows --random-fully
	wait          bool   // iptables-restore knows --wait
	version       string
}

// find looks the tool of a family up. ErrNoTool if it is not there.
func find(f firewall.Family, variant string) (tool, error) {
	name, proto := "iptables", iptables.ProtocolIPv4
	if f == firewall.IPv6 {
		name, proto = "ip6tables", iptables.ProtocolIPv6
	}
	if variant != "" {
		name += "-" + variant
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return tool{}, fmt.Errorf("find %s: %w", name, ErrNoTool)
	}
	t := tool{save: path + "-save", restore: path + "-restore"}
	for _, p := range []string{t.save, t.restore} {
		if _, err := exec.LookPath(p); err != nil {
			return tool{}, fmt.Errorf("find %s: %w", p, ErrNoTool)
		}
	}
	ipt, err := iptables.New(iptables.IPFamily(proto), iptables.Path(path))
	if err != nil {
		return tool{}, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	v1, v2, v3 := ipt.GetIptablesVersion()
	t.version = fmt.Sprintf("%s %d.%d.%d", name, v1, v2, v3)
	// Both came with 1.6.2.
	t.random, t.wait = ipt.HasRandomFully(), ipt.HasRandomFully()
	return t, nil
}

// list reads all tables with one process, and creates none.
func (t tool) list(ctx context.Context) (listing, error) {
	out, err := run(exec.CommandContext(ctx, t.save))
	if err != nil {
		return listing{}, err
	}
	return parse(out), nil
}

// apply runs one transaction.
func (t tool) apply(ctx context.Context, script string) error {
	args := []string{"--noflush"}
	if t.wait {
		args = append(args, "--wait", lockSeconds)
	}
	cmd := exec.CommandContext(ctx, t.restore, args...)
	cmd.Stdin = strings.NewReader(script)
	_, err := run(cmd)
	return err
}

// run returns what cmd printed. It runs in the namespace of the caller's
// thread.
func run(cmd *exec.Cmd) (string, error) {
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &msg
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("run %s: %w: %s", cmd.Path, err, strings.Join(strings.Fields(msg.String()), " "))
	}
	return out.String(), nil
}
