// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestForeignRecord: a record that is not under its Node's name is none, since
// only the name tells who may write it.
func TestForeignRecord(t *testing.T) {
	t.Parallel()
	own := metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: "n1", UID: "u"}
	pod := own
	pod.Kind = "Pod"
	for _, row := range []struct {
		name  string
		owner []metav1.OwnerReference
		want  bool
	}{
		{RecordName("n1"), []metav1.OwnerReference{own}, true},
		{RecordName("n2"), []metav1.OwnerReference{own}, false},
		{"n1", []metav1.OwnerReference{own}, false},
		{RecordName("n1"), []metav1.OwnerReference{pod}, false},
		{RecordName("n1"), nil, false},
		{RecordName(""), []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node"}}, false},
	} {
		n := aNode(row.name, "7")
		n.OwnerReferences = row.owner
		var o object
		msg, err := metadataOf(n).Marshal()
		if err == nil {
			err = o.decode(msg)
		}
		r, ok := (&trimmer{wanted: wanted, record: true}).trim(&o)
		if err != nil || ok != row.want || ok && (r.Name != "n1" || r.UID != "u" || !r.Record) {
			t.Errorf("%s owned by %v: %+v, %v, %v; want %v", row.name, row.owner, r, ok, err, row.want)
		}
	}
	if name := RecordName(strings.Repeat("a", 249)); name != "" {
		t.Errorf("RecordName of a long name = %q", name)
	}
}
