// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/subnet/ipam"
)

// Error codes of our own; the CNI specification leaves those from 100 to
// plugins.
const (
	codeFull     = 100 // no address is left
	codeBridge   = 101 // the bridge belongs to another subnet
	codeAttached = 102 // the container has the interface already
	codeDrifted  = 103 // CHECK found differences
	codeTaken    = 104 // an address that the pod asks for is another one's
	codePorts    = 105 // the bridge has no port left
)

// coded makes err a CNI error: its text with a code, that of an error within it
// if there is one.
func coded(code uint, err error) *types.Error {
	var has *types.Error
	var full *ipam.FullError
	var taken *ipam.TakenError
	switch {
	case errors.As(err, &has):
		code = has.Code
	case errors.As(err, &full):
		code = codeFull
	case errors.As(err, &taken):
		code = codeTaken
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EROFS), errors.Is(err, unix.EDQUOT):
		code = types.ErrIOFailure
	}
	// One line: it becomes part of an event of the pod.
	return types.NewError(code, strings.ReplaceAll(err.Error(), "\n", "; "), "")
}

func codef(code uint, format string, args ...any) *types.Error {
	return coded(code, fmt.Errorf(format, args...))
}
