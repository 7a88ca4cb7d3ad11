// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Watch calls kick when our table may have changed, whoever changed it, and
// once as soon as it would notice a change. It blocks until ctx ends, and
// returns ctx's error then. kick must not block.
func (f *Firewall) Watch(ctx context.Context, kick func()) error {
	socket, err := open(f.ns, unix.NFNLGRP_NFTABLES)
	if err != nil {
		return err
	}
	defer socket.Close()
	defer context.AfterFunc(ctx, func() { socket.Close() })()
	kick()
	buf := make([]byte, socketBuffer)
	for {
		n, err := socket.Read(buf)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.ENOBUFS):
			kick() // more came than the socket holds: anything may have changed
		case err != nil:
			return fmt.Errorf("watch rules: %w", err)
		case f.concerns(buf[:n]):
			kick()
		}
	}
}

// concerns reports whether notifications are about our table. Others change
// theirs all the time.
func (f *Firewall) concerns(b []byte) bool {
	msgs, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return true // cannot tell
	}
	for _, m := range msgs {
		if len(m.Data) < genHeader || m.Data[0] != unix.NFPROTO_INET {
			continue
		}
		// Attribute 1 names the table in messages about tables, chains, rules,
		// sets, elements, objects and flow tables alike.
		if word(find(m.Data[genHeader:], unix.NFTA_TABLE_NAME)) == f.table {
			return true
		}
	}
	return false
}
