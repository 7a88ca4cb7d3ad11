// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// SetAlias gives a link a text (ip link set alias) of at most 255 bytes; "" takes
// it away.
func (c *Conn) SetAlias(_ context.Context, name, alias string) error {
	var e encoder
	e.begin(unix.RTM_SETLINK, 0)
	e.ifInfo(ifInfo{})
	e.name(unix.IFLA_IFNAME, name)
	e.attr(unix.IFLA_IFALIAS, []byte(alias))
	e.end()
	if err := c.change(e.buf); err != nil {
		return fmt.Errorf("set alias of link %s: %w", name, err)
	}
	return nil
}

// Alias returns the text of one link; "" if it has none, or is gone.
func (c *Conn) Alias(_ context.Context, name string) (string, error) {
	if name == "" || len(name) >= unix.IFNAMSIZ {
		return "", nil
	}
	var e encoder
	e.begin(unix.RTM_GETLINK, 0)
	e.ifInfo(ifInfo{})
	e.name(unix.IFLA_IFNAME, name)
	e.u32(unix.IFLA_EXT_MASK, skipStats)
	e.end()
	var l link
	err := c.sock.ask(e.buf, func(body []byte) { l, _ = decodeLink(body) })
	if err != nil && !gone(err) {
		return "", fmt.Errorf("read alias of link %s: %w", name, err)
	}
	return l.alias, nil
}
