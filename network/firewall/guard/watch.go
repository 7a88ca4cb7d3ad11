// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Watch calls kick when the table, or one that guards pods, may have changed,
// whoever changed it, and once as soon as it would notice a change, in the
// network namespace of the calling thread. It blocks until ctx ends, and
// returns ctx's error then. kick must not block.
func (t *Tunnel) Watch(ctx context.Context, kick func()) error {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err := explain(err); errors.Is(err, ErrNoNFTables) { // nothing will ever change
		kick()
		<-ctx.Done()
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("watch guards: %w", err)
	}
	defer c.Close()
	if err := c.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return fmt.Errorf("watch guards: %w", err)
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	kick()
	for {
		messages, err := c.Receive()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.ENOBUFS):
			kick() // more came than the socket holds: anything may have changed
		case err != nil:
			return fmt.Errorf("watch guards: %w", err)
		case concerns(messages, t.name):
			kick()
		}
	}
}

// concerns reports whether notifications are about that table, or one of pods.
func concerns(messages []netlink.Message, name string) bool {
	for _, m := range messages {
		const header = 4 // struct nfgenmsg
		if len(m.Data) < header {
			continue
		}
		d, err := netlink.NewAttributeDecoder(m.Data[header:])
		if err != nil {
			return true // cannot tell
		}
		// Attribute 1 names the table in messages about all kinds of objects, and
		// comes first.
		if d.Next() && d.Type() == unix.NFTA_TABLE_NAME {
			table := string(bytes.TrimRight(d.Bytes(), "\x00"))
			if table == name || table == PodTable {
				return true
			}
		}
	}
	return false
}
