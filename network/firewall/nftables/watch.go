// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Watch calls kick when our table may have changed, or a chain of others at the
// forward hook, whoever changed it, and once as soon as it would notice a
// change. Chains of others are those that the last Sync saw, and new ones. It
// blocks until ctx ends, and returns ctx's error then. kick must not block.
func (f *Firewall) Watch(ctx context.Context, kick func()) error {
	socket, err := open(f.ns, unix.NFNLGRP_NFTABLES)
	if err != nil {
		return err
	}
	defer socket.Close()
	defer context.AfterFunc(ctx, func() { socket.Close() })()
	kick()
	buf := make([]byte, socketBuffer)
	some := false // of a transaction that is still being told
	for {
		n, err := socket.Read(buf)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.ENOBUFS):
			some = false
			kick() // more came than the socket holds: anything may have changed
		case err != nil:
			return fmt.Errorf("watch rules: %w", err)
		case f.hear(buf[:n], &some):
			kick()
		}
	}
}
