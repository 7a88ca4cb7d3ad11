// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"errors"
	"fmt"
	"maps"
	"time"

	nft "github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/pod"
)

// AddPod lets a pod send from what is its own and from nothing else, in the
// network namespace of the calling thread, and makes the tables as needed. It
// may be repeated, several processes may do so at once, and the port need not
// be there yet. ErrNoNFTables: this kernel cannot.
func AddPod(s pod.Sender) error {
	p := newPodSets([]pod.Sender{s})
	if err := p.add(); !errors.Is(err, unix.ENOENT) {
		return wrap("guard pod", err)
	}
	c, err := dial()
	if err != nil {
		return fmt.Errorf("guard pod: %w", err)
	}
	defer c.CloseLasting()
	p.rules()
	for _, t := range p.tables() {
		if err := t.define(c); err != nil {
			return fmt.Errorf("guard pod: %w", err)
		}
	}
	return wrap("guard pod", explain(p.write(c), unix.ENOENT)) // ENOENT: the module of chains is missing
}

// define adds to c's transaction what makes t where it is not there yet, and
// the rules anew.
func (t *table) define(c *nft.Conn) error {
	c.AddTable(t.Table)
	for _, s := range t.sets {
		if err := c.AddSet(s.Set, nil); err != nil {
			return err
		}
	}
	for _, ch := range t.chains {
		if err := ch.write(c); err != nil {
			return err
		}
	}
	return nil
}

// write adds all elements, and ends the transaction.
func (p *pods) write(c *nft.Conn) error { return p.change(c, (*set).add) }

func (p *pods) change(c *nft.Conn, fn func(*set, *nft.Conn, []nft.SetElement) error) error {
	for _, t := range p.tables() {
		for _, s := range t.sets {
			var all []nft.SetElement
			for k := range s.want {
				all = append(all, nft.SetElement{Key: []byte(k)})
			}
			if len(all) == 0 {
				continue
			}
			if err := fn(s, c, all); err != nil {
				return err
			}
		}
	}
	return c.Flush()
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// DelPod ends what AddPod began. What is not there is success. The port must be
// gone, or the pod could send what it likes.
func DelPod(s pod.Sender) error {
	c, err := dial()
	if errors.Is(err, ErrNoNFTables) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("end guarding of pod: %w", err)
	}
	defer c.CloseLasting()
	p := newPods([]pod.Sender{s})
	_, there, err := p.bridge.exists(c)
	if errors.Is(err, ErrNoNFTables) || err == nil && !there {
		return nil
	}
	if err == nil {
		err = p.change(c, (*set).del)
	}
	if errors.Is(err, unix.ENOENT) { // a table has just gone
		return nil
	}
	return wrap("end guarding of pod", err)
}

// ClearPods ends the guarding of all pods. Absent tables are success.
func ClearPods() (was bool, err error) {
	c, err := dial()
	if errors.Is(err, ErrNoNFTables) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("end guarding of pods: %w", err)
	}
	defer c.CloseLasting()
	for _, t := range newPods(nil).tables() {
		there, err := t.clear(c)
		if err != nil {
			return was, fmt.Errorf("end guarding of pods: %w", err)
		}
		was = was || there
	}
	return was, nil
}

// Pods keeps the guards of all pods of a node. Its methods must not be called
// at once.
type Pods struct {
	strange map[string]time.Time // elements that nobody wants, and since when
}

// grace is how long an element is kept that no pod is known for: ADD writes the
// elements before the port.
const grace = 30 * time.Second

// Sync makes the kernel guard exactly the senders, in the network namespace of
// the calling thread, and says in words what was different before. Without
// senders it makes no table. now is the time.
func (g *Pods) Sync(senders []pod.Sender, now time.Time) (changed []string, err error) {
	c, err := dial()
	if err != nil {
		return nil, fmt.Errorf("guard pods: %w", err)
	}
	defer c.CloseLasting()
	seen := make(map[string]time.Time)
	defer func() { g.strange = seen }()
	for _, t := range newPods(senders).tables() {
		have, err := t.read(c)
		if err != nil {
			return changed, fmt.Errorf("guard pods: read table %s: %w", t.Name, err)
		}
		if have == nil && len(senders) == 0 {
			continue
		}
		told, err := t.sync(c, have, func(set, key string) bool {
			id := fmt.Sprint(t.Family, set, key)
			since, ok := g.strange[id]
			if !ok {
				since = now
			}
			seen[id] = since
			return now.Sub(since) >= grace
		})
		changed = append(changed, told...)
		if err != nil {
			return changed, fmt.Errorf("guard pods: write table %s: %w", t.Name, err)
		}
	}
	return changed, nil
}

// Refused returns how many packets of pods were dropped since the rules were
// written, by what they were.
func Refused() (map[string]uint64, error) {
	c, err := dial()
	if err != nil {
		return nil, err
	}
	defer c.CloseLasting()
	all := make(map[string]uint64)
	for _, t := range newPods(nil).tables() {
		counts, err := t.counts(c)
		if err != nil {
			return nil, fmt.Errorf("count what pods' guards dropped: %w", err)
		}
		maps.Copy(all, counts)
	}
	return all, nil
}
