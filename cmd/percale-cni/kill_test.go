// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/percale-net/percale/internal/netns"
)

// Many pods come and go at once, and one call in five is killed at a random
// moment. No address is ever two pods' at once, and after GC nothing is left.
// PERCALE_CNI_KILLS sets the number of calls, which else are at most 400, and
// fewer on a slow machine. PERCALE_CNI_PLUGIN names another binary than this one.
func TestKilled(t *testing.T) {
	calls, end := 400, time.Now().Add(10*time.Second)
	if s := os.Getenv("PERCALE_CNI_KILLS"); s != "" {
		var err error
		if calls, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
		end = end.Add(24 * time.Hour)
	}
	env := strings.NewReplacer("IPMASQ=true", "IPMASQ=false", "10.42.7.1/24", "10.42.16.1/20").Replace(envDual)
	k := &killer{node: newNode(t, env), end: end, held: make(map[netip.Addr]string)}
	k.conf = k.node.conf(conf{"isDefaultGateway": true, "hairpinMode": true})
	const atOnce = 16
	var wg sync.WaitGroup
	for w := range atOnce {
		pod := netns.Temp(t)
		wg.Go(func() { k.work(t, w, pod, calls/atOnce/2) })
	}
	wg.Wait()
	t.Logf("%d calls, %d to be killed, %d of them before the end; %d pods lost, with %d addresses", k.calls, k.killed, k.cut, k.lost, len(k.node.reserved(t)))
	if k.calls >= 100 && k.cut == 0 {
		t.Error("no call was cut off; want some")
	}
	for range 2 {
		if err := k.node.gc(t, k.conf); err != nil {
			t.Fatal(err)
		}
	}
	k.node.wantNothing(t)
	if got := k.node.masqueraded(t); got > 0 {
		t.Errorf("%d addresses are masqueraded after GC; want none", got)
	}
	if got := k.node.guarded(t); len(got) > 0 {
		t.Errorf("%d ports are guarded after GC; want none", len(got))
	}
}

// A killer runs the calls, and knows who has which address.
type killer struct {
	node node
	conf conf
	end  time.Time // after which no pod is added

	mu                       sync.Mutex // guards what is below
	held                     map[netip.Addr]string
	calls, killed, cut, lost int
}

// work adds and deletes one pod after the other in a namespace. Of the pods
// with a killed call, one in four is forgotten, and its namespace is not.
func (k *killer) work(t *testing.T, worker int, pod netns.NS, rounds int) {
	for i := range rounds {
		if time.Now().After(k.end) {
			break
		}
		container := fmt.Sprintf("w%d-%d", worker, i)
		out, err := k.call(t, call{"ADD", container, pod.Path(), "eth0", k.conf})
		var addrs []netip.Addr
		if err == nil {
			var r types100.Result
			if err := json.Unmarshal(out, &r); err != nil {
				t.Errorf("ADD printed %q: %v", out, err)
				return
			}
			addrs = addresses(&r)
			if len(addrs) != 2 {
				t.Errorf("ADD gave %v; want an address of each family", addrs)
			}
			k.take(t, container, addrs)
		}
		k.give(addrs) // before DEL: the next owner may have them before this one knows of it
		for {
			if errors.Is(err, errKilled) && rand.IntN(4) == 0 {
				k.lose()
				pod = netns.Temp(t)
				break
			}
			if _, err = k.call(t, call{"DEL", container, pod.Path(), "eth0", k.conf}); err == nil {
				break
			}
		}
	}
}

func (k *killer) lose() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lost++
}

func (k *killer) take(t *testing.T, container string, addrs []netip.Addr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range addrs {
		if other, ok := k.held[a]; ok {
			t.Errorf("%s was given to %s, and %s has it", a, container, other)
		}
		k.held[a] = container
	}
}

func (k *killer) give(addrs []netip.Addr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range addrs {
		delete(k.held, a)
	}
}

// longest is by when most calls would have ended.
const longest = 120 * time.Millisecond

var errKilled = errors.New("killed")

// call runs the plugin, and kills it in one of five cases.
func (k *killer) call(t *testing.T, c call) ([]byte, error) {
	kill := rand.IntN(5) == 0
	stdin, err := json.Marshal(c.conf)
	if err != nil {
		return nil, err
	}
	var stdout bytes.Buffer
	cmd := exec.Command(cmp.Or(os.Getenv("PERCALE_CNI_PLUGIN"), os.Args[0]))
	cmd.Stdin, cmd.Stdout = bytes.NewReader(stdin), &stdout
	cmd.Env = slices.Concat(os.Environ(), []string{asPlugin + "=1", "CNI_COMMAND=" + c.command, "CNI_CONTAINERID=" + c.container,
		"CNI_NETNS=" + c.netns, "CNI_IFNAME=" + c.ifname, "CNI_PATH=/opt/cni/bin"})
	if err := k.node.Start(cmd); err != nil {
		t.Error(err)
		return nil, nil
	}
	if kill {
		timer := time.AfterFunc(rand.N(longest), func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
	}
	err = cmd.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls++
	if kill {
		k.killed++
	}
	switch {
	case err == nil:
		return stdout.Bytes(), nil
	case cmd.ProcessState.ExitCode() < 0:
		k.cut++
		return nil, errKilled
	}
	t.Errorf("%s: %v: %s", c.command, err, stdout.Bytes())
	return nil, nil
}
