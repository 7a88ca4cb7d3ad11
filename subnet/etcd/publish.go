// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/percale-net/percale/subnet"
)

// tries is how often a lost race is run again. To lose one, somebody else must
// change the very same key in the same milliseconds.
const tries = 5

// errRace says that a key changed between our look at it and our transaction.
var errRace = errors.New("another writer was faster")

// Publish implements subnet.Store. A new key is bound to an etcd lease of the
// configured TTL; that lease is kept alive to renew, so that peers see nothing.
// A key without one is an operator's reservation: it stays without.
func (s *Store) Publish(ctx context.Context, own subnet.Lease) (time.Time, error) {
	if own.Node == "" {
		return time.Time{}, errors.New("publish lease: it has no node name")
	}
	key, val, err := encode(own)
	if err != nil {
		return time.Time{}, fmt.Errorf("publish lease: %w", err)
	}
	p := publication{store: s, own: own, key: s.subnets() + key, val: val}
	s.intend(p.key, own)
	for range tries {
		expires, err := p.once(ctx)
		if !errors.Is(err, errRace) {
			return expires, err
		}
	}
	return time.Time{}, fmt.Errorf("publish lease %s: %w, %d times", key, errRace, tries)
}

// A publication is one call of Publish.
type publication struct {
	store *Store
	own   subnet.Lease
	key   string // whole
	val   []byte
}

// once looks at the keys of our first address and does what they call for.
func (p publication) once(ctx context.Context) (time.Time, error) {
	prefix := p.store.subnets() + placeOf(p.own).base()
	kvs, err := p.store.get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return time.Time{}, err
	}
	// Our very key comes first: what else is there does not end our lease.
	for _, kv := range kvs {
		if string(kv.Key) == p.key && p.store.held(kv, p.own) == nil {
			if err := p.confirmedClash(ctx, kv); err != nil {
				return time.Time{}, err
			}
			return p.renew(ctx, kv)
		}
	}
	for _, kv := range kvs {
		if err := p.store.held(kv, p.own); err != nil {
			return time.Time{}, err
		}
	}
	if len(kvs) == 0 {
		// Nor may a key appear that differs in length or in the IPv6 subnet.
		return p.create(ctx, clientv3.Compare(clientv3.CreateRevision(prefix), "=", 0).WithPrefix())
	}
	return p.create(ctx, clientv3.Compare(clientv3.CreateRevision(p.key), "=", 0))
}

// held returns ErrTaken, with the holder, unless kv is own's.
func (s *Store) held(kv *mvccpb.KeyValue, own subnet.Lease) error {
	key := strings.TrimPrefix(string(kv.Key), s.subnets())
	var l subnet.Lease
	at, err := parseKey(key)
	if err == nil {
		l, err = decodeValue(at, kv.Value)
	}
	if err != nil {
		return fmt.Errorf("publish lease: %w: key %s cannot be read: %w", subnet.ErrTaken, bounded(key), err)
	}
	if !subnet.Mine(subnet.ClaimOf(own), l) {
		return fmt.Errorf("publish lease: %w: %s is held by %s", subnet.ErrTaken, key, l.Name())
	}
	return nil
}

// create makes the key, bound to a new etcd lease, if the condition holds.
func (p publication) create(ctx context.Context, condition clientv3.Cmp) (time.Time, error) {
	p.store.miss(p.key)
	id, expires, err := p.store.grant(ctx)
	if err != nil {
		return time.Time{}, err
	}
	revision, err := p.commit(ctx, condition, id)
	if err == nil {
		err = p.verify(ctx, revision)
	}
	if err != nil {
		p.store.revoke(ctx, id) // and with it the key, if it was made
		return time.Time{}, err
	}
	return expires, nil
}

// renew keeps our key alive, and changes its value if it must.
func (p publication) renew(ctx context.Context, kv *mvccpb.KeyValue) (time.Time, error) {
	id, expires, err := clientv3.LeaseID(kv.Lease), time.Time{}, error(nil)
	same := p.published(kv)
	granted := false
	if id != clientv3.NoLease {
		expires, err = p.store.keepAlive(ctx, id)
		if errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound) {
			// It ran out this moment, or a restored etcd has lost it.
			id, expires, err = p.store.grant(ctx)
			granted, same = true, false
		}
		if err != nil {
			return time.Time{}, err
		}
	}
	if same {
		p.store.hold(p.key, kv.ModRevision)
		return expires, nil
	}
	condition := clientv3.Compare(clientv3.ModRevision(p.key), "=", kv.ModRevision)
	if _, err := p.commit(ctx, condition, id); err != nil {
		if granted {
			p.store.revoke(ctx, id)
		}
		return time.Time{}, err
	}
	return expires, nil
}

// published reports whether kv says what we would write, in whatever form.
func (p publication) published(kv *mvccpb.KeyValue) bool {
	at := placeOf(p.own)
	have, err := decodeValue(at, kv.Value)
	if err != nil {
		return false
	}
	want, err := decodeValue(at, p.val)
	return err == nil && have == want
}

// commit writes the key if the condition holds, and returns its revision.
func (p publication) commit(ctx context.Context, condition clientv3.Cmp, id clientv3.LeaseID) (int64, error) {
	var resp *clientv3.TxnResponse
	before := p.store.seen()
	err := p.store.ask(ctx, "write "+p.key, func(ctx context.Context, c *clientv3.Client) (err error) {
		resp, err = c.Txn(ctx).If(condition).Then(clientv3.OpPut(p.key, string(p.val), clientv3.WithLease(id))).Commit()
		return err
	})
	switch {
	case errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound):
		return 0, errRace
	case err != nil:
		return 0, err
	}
	p.store.observe(before, resp.Header)
	if !resp.Succeeded {
		return 0, errRace
	}
	p.store.hold(p.key, resp.Header.Revision)
	return resp.Header.Revision, nil
}

// verify returns ErrTaken if another node's older key overlaps the one that we
// made at the revision. Of two that do, the younger one always sees the other,
// so that one of them yields and never both keep theirs.
func (p publication) verify(ctx context.Context, revision int64) error {
	keys, err := p.store.get(ctx, p.store.subnets(), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	for _, kv := range keys {
		at, err := parseKey(strings.TrimPrefix(string(kv.Key), p.store.subnets()))
		if err != nil || kv.CreateRevision >= revision || !at.overlaps(placeOf(p.own)) {
			continue
		}
		rival, err := p.store.get(ctx, string(kv.Key))
		if err != nil {
			return err
		}
		for _, kv := range rival {
			if err := p.store.held(kv, p.own); err != nil {
				return err
			}
		}
	}
	return nil
}
