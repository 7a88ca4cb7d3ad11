// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"
)

// PauseEtcd stops the lab's etcd where it stands: connections stay open, and
// nothing answers.
func (l *Lab) PauseEtcd() error { return l.process(etcdRole).pause() }

// ResumeEtcd lets a paused etcd go on.
func (l *Lab) ResumeEtcd() error { return l.process(etcdRole).send(unix.SIGCONT) }

// WipeEtcd makes etcd start anew with nothing in it, not even the net-conf.
func (l *Lab) WipeEtcd(ctx context.Context) error {
	if err := l.StopEtcd(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(l.etcdDir()); err != nil {
		return err
	}
	return l.StartEtcd(ctx)
}

// BackupEtcd copies etcd's data to a new directory of that name in the lab's
// folder, as a snapshot of the disk does: etcd stands still meanwhile.
func (l *Lab) BackupEtcd(name string) error {
	if err := l.PauseEtcd(); err != nil {
		return err
	}
	err := os.CopyFS(l.backupDir(name), os.DirFS(l.etcdDir()))
	return errors.Join(err, l.ResumeEtcd())
}

// RestoreEtcd makes etcd start anew with what BackupEtcd copied. Its revisions
// begin again at what they were then.
func (l *Lab) RestoreEtcd(ctx context.Context, name string) error {
	if err := l.StopEtcd(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(l.etcdDir()); err != nil {
		return err
	}
	if err := os.CopyFS(l.etcdDir(), os.DirFS(l.backupDir(name))); err != nil {
		return err
	}
	return l.StartEtcd(ctx)
}

// CompactEtcd makes etcd forget all that was before now.
func (l *Lab) CompactEtcd(ctx context.Context) error {
	client, err := l.Etcd()
	if err != nil {
		return err
	}
	defer client.Close()
	now, err := client.Get(ctx, "now")
	if err != nil {
		return err
	}
	if _, err := client.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		return fmt.Errorf("compact etcd: %w", err)
	}
	return nil
}

func (l *Lab) etcdDir() string { return filepath.Join(l.dir(), "etcd") }

func (l *Lab) backupDir(name string) string { return filepath.Join(l.dir(), "backup-"+name) }

// LoseEtcd drops every packet between the node and etcd, both ways and without
// a word, at etcd's end: all else of the node's traffic goes on.
func (n *Node) LoseEtcd() error { return n.filter("-I", etcdPort) }

// FindEtcd undoes one LoseEtcd.
func (n *Node) FindEtcd() error { return n.filter("-D", etcdPort) }

// filter changes the rules by which the switch's namespace drops what the node
// exchanges with a port there.
func (n *Node) filter(change string, port int) error {
	tool, addr := "iptables", n.Uplink()[0] // of the family that the stores are reached by
	if addr.Is6() {
		tool = "ip6tables"
	}
	for _, way := range [][]string{
		{"INPUT", "-s", addr.String(), "-p", "tcp", "--dport", strconv.Itoa(port)},
		{"OUTPUT", "-d", addr.String(), "-p", "tcp", "--sport", strconv.Itoa(port)},
	} {
		args := append([]string{"-w", change}, way...)
		if _, err := n.lab.Switch().Output(tool, append(args, "-j", "DROP")...); err != nil {
			return err
		}
	}
	return nil
}
