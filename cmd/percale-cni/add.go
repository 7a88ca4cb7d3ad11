// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/firewall/podmasq"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/network/pod"
	"github.com/percale-net/percale/subnet/local"
)

// storeTimeout bounds the wait for other processes that reserve addresses.
const storeTimeout = 20 * time.Second

// add wires the container's interface and prints the result. After an error
// nothing of it is left, but a bridge that was made may stay: other pods may
// be about to use it.
func add(args *request) error {
	c, err := parseConfig(args.StdinData)
	if err != nil {
		return err
	}
	j, err := newJob(c, args)
	if err != nil {
		return err
	}
	defer j.close()
	ctx := context.Background()
	for _, key := range c.ignored() {
		fmt.Fprintf(os.Stderr, "percale-cni: runtimeConfig.%s is ignored: it is for a plugin behind this one\n", key)
	}
	result, err := j.run(ctx)
	if err != nil {
		return j.undo(ctx, coded(types.ErrInternal, err))
	}
	return types.PrintResult(result, c.CNIVersion)
}

// A job is one ADD.
type job struct {
	config    config
	settings  settings
	plan      plan
	store     local.Store
	own       local.Owner
	netns     string
	args      string // CNI_ARGS
	host, pod *kernel.Conn
	undos     []func(context.Context) error // of what was done, in order
}

// newJob checks all that can be checked before anything is changed.
func newJob(c config, args *request) (*job, error) {
	own, err := owner(args)
	if err != nil {
		return nil, err
	}
	j := &job{config: c, own: own, netns: args.Netns, args: args.Args}
	if j.settings, err = c.settings(args.Args); err != nil {
		return nil, err
	}
	if j.store, err = c.store(); err != nil {
		return nil, err
	}
	e, err := readEnv(c, time.Now())
	if err != nil {
		return nil, err
	}
	if j.plan, err = newPlan(j.settings, e, kernelHasIPv6()); err != nil {
		return nil, codef(types.ErrInvalidNetworkConfig, "%s and delegate: %w", c.SubnetFile, err)
	}
	if _, err = j.plan.attachment(j.own, nil); err != nil {
		return nil, err
	}
	if j.pod, err = openPod(args.Netns); err != nil {
		return nil, coded(types.ErrInvalidNetNS, err)
	}
	if j.host, err = kernel.Open(""); err != nil {
		return nil, errors.Join(err, j.pod.Close())
	}
	return j, nil
}

// owner returns whom a call is about.
func owner(args *request) (local.Owner, error) {
	own := local.Owner{Container: args.ContainerID, Ifname: args.IfName}
	if err := own.Check(); err != nil {
		return local.Owner{}, coded(types.ErrInvalidEnvironmentVariables, err)
	}
	return own, nil
}

func (j *job) close() { _ = errors.Join(j.host.Close(), j.pod.Close()) } // nothing is lost by a failure

// run does the job up to its result.
func (j *job) run(ctx context.Context) (types.Result, error) {
	if err := j.refuseAttached(); err != nil {
		return nil, err
	}
	have, err := j.host.ReadDevices(ctx, j.bridgeScope())
	if err != nil {
		return nil, err
	}
	if j.config.Type == flannelType {
		if err := j.keepFlannelState(); err != nil {
			return nil, err
		}
	}
	addrs, err := j.reserve(ctx)
	if err != nil {
		return nil, err
	}
	a, err := j.plan.attachment(j.own, addrs)
	if err != nil {
		return nil, err
	}
	a.MAC = j.settings.mac
	bridge, err := j.ensureBridge(ctx, have)
	if err != nil {
		return nil, err
	}
	if err := j.wire(a); err != nil {
		return nil, err
	}
	if j.plan.masquerade {
		if err := j.masquerade(addrs); err != nil {
			return nil, err
		}
	}
	return newResult(j, bridge, a), nil
}

// refuseAttached fails where the container has the interface already. The
// specification forbids a second ADD, and undoing one must not take the first
// one down.
func (j *job) refuseAttached() error {
	port, _ := pod.HostEnd(j.own.Container, j.own.Ifname)
	if there, err := j.host.Has(port); err != nil {
		return err
	} else if there {
		return codef(codeAttached, "container %s has its interface %s already (%s is its end on the node): a DEL must come before another ADD",
			j.own.Container, j.own.Ifname, port)
	}
	if there, err := j.pod.Has(j.own.Ifname); err != nil {
		return err
	} else if there {
		return codef(codeAttached, "namespace %s has an interface %s already: it must be deleted before another ADD", j.netns, j.own.Ifname)
	}
	return nil
}

func (j *job) reserve(ctx context.Context) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	j.noteStore()
	addrs, err := j.store.Reserve(ctx, j.own, j.plan.ranges, j.settings.wanted...)
	if err != nil {
		return nil, j.explainReserve(ctx, err)
	}
	j.undos = append(j.undos, func(ctx context.Context) error { return j.store.Free(ctx, j.own, addrs) })
	j.store.NotePod(addrs, cniArg(j.args, "K8S_POD_NAMESPACE"), cniArg(j.args, "K8S_POD_NAME"))
	return addrs, nil
}

// noteStore tells percaled where the addresses are. A pod is worth more than
// the sweep, which waits for a note that could be written.
func (j *job) noteStore() {
	if here, err := local.Here(); err == nil {
		_ = local.Network{Store: j.store, SubnetFile: j.config.SubnetFile}.Note(j.config.RunDir, here)
	}
}

func (j *job) keepFlannelState() error {
	forget := func(context.Context) error {
		return removeFlannelState(j.config.DataDir, j.config.Name, j.own.Container)
	}
	j.undos = append(j.undos, forget)
	if err := writeFlannelState(j.config, j.plan, j.own.Container); err != nil {
		return coded(types.ErrIOFailure, err)
	}
	return nil
}

// wire makes the veth pair, and the pod's end of it what a says.
func (j *job) wire(a pod.Attachment) error {
	port, inside := j.plan.bridge.Port(a), a.State()
	end := inside.Links[a.Ifname]
	end.Up = false // until the settings hold, which count from the moment it goes up
	pair := kernel.Veth{Here: j.host, End: port, There: j.pod, Other: end, Alias: j.alias(a.Sender())}
	if err := pair.Add(); err != nil {
		return explainPorts(err, j.plan.bridge.Name)
	}
	j.undos = append(j.undos, func(ctx context.Context) error { return j.host.DelLink(ctx, port.Name) })
	if err := j.guard(a.Sender()); err != nil {
		return err
	}
	return j.pod.Wire(a.Ifname, inside)
}

// masquerade hides the pod's addresses from what is outside the pod network.
func (j *job) masquerade(addrs []netip.Addr) error {
	j.undos = append(j.undos, func(context.Context) error { return podmasq.Del(addrs) })
	err := podmasq.Add(addrs, j.plan.inside)
	if errors.Is(err, podmasq.ErrNoNFTables) {
		return codef(types.ErrInternal, "%w: start percaled with --ip-masq, so that it masquerades for all pods, or set delegate.ipMasq to false", err)
	}
	return err
}

// undo takes back what was done, last first, and returns cause, with what
// could not be taken back.
func (j *job) undo(ctx context.Context, cause *types.Error) error {
	var errs error
	for _, fn := range slices.Backward(j.undos) {
		errs = errors.Join(errs, fn(ctx))
	}
	if errs != nil {
		cause.Msg += "; not undone, DEL will do it: " + errs.Error()
	}
	return cause
}

// apply makes changes to links and what belongs to them, settings first where
// there are links: they count from the moment a link goes up, and disable_ipv6
// keeps addresses away.
func apply(ctx context.Context, c *kernel.Conn, ch network.Changes) error {
	steps := []network.Changes{
		{SetSysctls: ch.SetSysctls},
		{SetLinks: ch.SetLinks, SetAddresses: ch.SetAddresses, DelAddresses: ch.DelAddresses, SetRoutes: ch.SetRoutes},
	}
	for _, step := range steps {
		if err := c.Apply(ctx, step); err != nil {
			return err
		}
	}
	return nil
}
