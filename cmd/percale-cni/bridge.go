// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/kernel"
)

// bridgeScope is what of the node's namespace concerns the bridge.
func (j *job) bridgeScope() kernel.Scope {
	scope := kernel.Scope{Devices: []string{j.plan.bridge.Name}}
	for path := range j.plan.bridge.State().Sysctls {
		scope.Sysctls = append(scope.Sysctls, path)
	}
	return scope
}

// ensureBridge makes the bridge, or of one that is there what it must be, and
// returns it as it then is. have is what was read of the node. Other processes
// may be doing the same.
func (j *job) ensureBridge(ctx context.Context, have network.State) (network.Link, error) {
	name := j.plan.bridge.Name
	for try := 0; ; try++ {
		want := j.plan.bridge.State()
		was, ok := have.Links[name]
		if ok {
			want.Links[name] = j.plan.bridge.Adopt(was)
		}
		ch := network.Compare(have, want)
		ch.DelAddresses = j.plan.bridge.Foreign(have.Addresses) // others are no business of ours
		if ch.Len() == 0 {
			return was, nil
		}
		if err := j.refuseForeign(ctx, ch.DelAddresses); err != nil {
			return network.Link{}, err
		}
		// A new link's settings are not there before it is.
		err := j.host.Apply(ctx, network.Changes{SetLinks: ch.SetLinks})
		if err == nil {
			ch.SetLinks = nil
			err = apply(ctx, j.host, ch)
		}
		if err != nil && (try > 2 || !errors.Is(err, unix.EEXIST)) {
			return network.Link{}, fmt.Errorf("make bridge: %w", err)
		}
		if have, err = j.host.ReadDevices(ctx, j.bridgeScope()); err != nil {
			return network.Link{}, err
		}
		if try > 5 {
			return network.Link{}, fmt.Errorf("make bridge: something else keeps changing %s: ip monitor link address dev %s", name, name)
		}
	}
}

// refuseForeign fails where the bridge has addresses of another subnet, and
// pods that may use them.
func (j *job) refuseForeign(ctx context.Context, foreign []network.Address) error {
	if len(foreign) == 0 || j.settings.force {
		return nil
	}
	ports, err := j.host.Ports(ctx, j.plan.bridge.Name)
	if err != nil || len(ports) == 0 {
		return err
	}
	var old, remedy []string
	for _, a := range foreign {
		old = append(old, a.Prefix.String())
		remedy = append(remedy, fmt.Sprintf("ip addr del %s dev %s", a.Prefix, a.Link))
	}
	var want []string
	for _, g := range j.plan.bridge.Gateways {
		want = append(want, g.String())
	}
	return codef(codeBridge, "%q already has an IP address different from %s: it has %s, of an older subnet of this node, and %d ports use it: "+
		"delete the pods that have addresses of the older subnet, then: %s (or set delegate.forceAddress to true, which does so at once)",
		j.plan.bridge.Name, strings.Join(want, " and "), strings.Join(old, " and "), len(ports), strings.Join(remedy, "; "))
}
