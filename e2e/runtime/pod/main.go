// SPDX-License-Identifier: Apache-2.0

// Pod is the only file of the image that the tests make: what keeps a sandbox
// alive, a server, and its client.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const usage = "usage: pod pause | serve ADDRESS | dial ADDRESS"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "pause":
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGINT, syscall.SIGTERM) // process 1 of a namespace ignores them else
		<-end
		return nil
	case len(args) == 2 && args[0] == "serve":
		return serve(args[1])
	case len(args) == 2 && args[0] == "dial":
		return dial(args[1], os.Stdout)
	}
	return fmt.Errorf("%q: %s", args, usage)
}

// serve tells each client which address it comes from.
func serve(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		fmt.Fprint(c, host)
		c.Close()
	}
}

// dial prints what a server says.
func dial(address string, to io.Writer) error {
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	_, err = io.Copy(to, c)
	return err
}
