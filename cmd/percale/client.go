// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/percale-net/percale/internal/web"
)

// A client asks the agent of one run directory.
type client struct {
	runDir string
	output string
}

// patience is how long the agent may take to answer.
const patience = 5 * time.Second

// get returns what the agent says at path, as JSON.
func (c *client) get(ctx context.Context, path string) ([]byte, error) {
	if _, err := c.asJSON(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	socket := web.Socket(c.runDir)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://percaled"+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, c.explain(socket, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("percaled answers %s to %s: is percale of the same version?", res.Status, path)
	}
	return io.ReadAll(res.Body)
}

// asJSON reports whether the answer is wanted as JSON.
func (c *client) asJSON() (bool, error) {
	if c.output != "text" && c.output != "json" {
		return false, fmt.Errorf("--output %q: want text or json", c.output)
	}
	return c.output == "json", nil
}

// show prints v as JSON, or by text.
func (c *client) show(w io.Writer, v any, text func(io.Writer)) error {
	as, err := c.asJSON()
	if err != nil || !as {
		if err == nil {
			text(w)
		}
		return err
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (c *client) explain(socket string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no percaled answers on %s: start it, or say with --run-dir which one to ask (%w)", socket, errors.Unwrap(err))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s is for root alone: try sudo percale", socket)
	}
	return fmt.Errorf("ask percaled on %s: %w", socket, err)
}

// answer gets path, and prints it as JSON or through text, which reports
// whether all is well.
func answer[T any](cmd *cobra.Command, c *client, q query[T]) error {
	raw, err := c.get(cmd.Context(), q.path)
	if err != nil {
		return err
	}
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		return fmt.Errorf("read percaled's answer: %w", err)
	}
	if c.output == "json" {
		cmd.OutOrStdout().Write(raw)
	} else {
		q.text(cmd.OutOrStdout(), v)
	}
	if !q.fine(v) {
		return errProblem
	}
	return nil
}

// A query is one thing to ask, and how to show the answer.
type query[T any] struct {
	path string
	text func(io.Writer, T)
	fine func(T) bool
}
