// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
)

// encode returns an object as an API server sends it.
func encode(t testing.TB, obj runtime.Object) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := protobuf.NewSerializer(nil, nil).Encode(obj, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// frame returns an event as an API server sends it.
func frame(t testing.TB, kind string, obj runtime.Object) []byte {
	t.Helper()
	e := metav1.WatchEvent{Type: kind, Object: runtime.RawExtension{Raw: encode(t, obj)}}
	msg, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(msg))), msg...)
}

// aNode returns a Node with annotations given as key, value, key, value, ….
func aNode(name, version string, annotations ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: name, UID: types.UID("uid-of-" + name[:min(len(name), 20)]), ResourceVersion: version,
		Labels:        map[string]string{"kubernetes.io/os": "linux"},
		Annotations:   map[string]string{"node.alpha.kubernetes.io/ttl": "0"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubelet", FieldsV1: metav1.NewFieldsV1(`{"f:status":{}}`)}},
	}}
	for i := 0; i < len(annotations); i += 2 {
		n.Annotations[annotations[i]] = annotations[i+1]
	}
	return n
}

func metadataOf(n *corev1.Node) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: n.ObjectMeta}
}

// listOf returns the list of Nodes as whole ones or as metadata.
func listOf(whole bool, version, more string, all ...*corev1.Node) runtime.Object {
	meta := metav1.ListMeta{ResourceVersion: version, Continue: more}
	if whole {
		l := &corev1.NodeList{ListMeta: meta}
		for _, n := range all {
			l.Items = append(l.Items, *n)
		}
		return l
	}
	l := &metav1.PartialObjectMetadataList{ListMeta: meta}
	for _, n := range all {
		l.Items = append(l.Items, *metadataOf(n))
	}
	return l
}

// wanted is what the tests' watchers keep.
func wanted(key string) bool { return strings.HasPrefix(key, "percale.io/") }
