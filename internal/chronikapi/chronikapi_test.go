package chronikapi

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// codec is what requests and responses have in common.
type codec interface {
	Key() int16
	AppendTo([]byte) []byte
	ReadFrom([]byte) error
	SetVersion(int16)
	MaxVersion() int16
}

// messages are one empty value of each.
func messages() []codec {
	var all []codec
	for k := FirstKey; k <= LastKey; k++ {
		req := RequestForKey(k)
		all = append(all, req, req.ResponseKind())
	}
	return all
}

func fill(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(r, v.Field(i))
			}
		}
	case reflect.Slice:
		n := 1 + r.IntN(3)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("%0*d", 1+r.IntN(200), r.IntN(1000)))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(r.Uint64()) >> (64 - v.Type().Bits()))
	case reflect.Uint8:
		v.SetUint(r.Uint64() >> 56)
	}
}

// Every field is written and read back: one that fields does not name comes back empty.
func TestEveryFieldTravels(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, m := range messages() {
		for range 50 {
			m.SetVersion(m.MaxVersion())
			fill(r, reflect.ValueOf(m).Elem())
			b := m.AppendTo(nil)
			got := reflect.New(reflect.TypeOf(m).Elem()).Interface().(codec)
			got.SetVersion(m.MaxVersion())
			if err := got.ReadFrom(b); err != nil {
				t.Fatalf("%T: %v", m, err)
			}
			if !reflect.DeepEqual(got, m) {
				t.Fatalf("%T read as\n%+v, written as\n%+v", m, got, m)
			}
			if len(b) > 0 {
				if err := got.ReadFrom(b[:len(b)-1]); !errors.Is(err, ErrMalformed) {
					t.Fatalf("%T without its last byte: %v", m, err)
				}
			}
		}
	}
}

// A tool of before reads an answer without the fields that came later, and a tool of today one of a node of before.
func TestNodeInfoOfBefore(t *testing.T) {
	for version := range NewNodeInfoRequest().MaxVersion() + 1 {
		m := &NodeInfoResponse{NodeID: 3, Damaged: []DamagedReplica{{Topic: "t"}}, DiskFull: true, MinFreeBytes: 7}
		m.SetVersion(version)
		got := &NodeInfoResponse{}
		got.SetVersion(version)
		if err := got.ReadFrom(m.AppendTo(nil)); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if got.NodeID != 3 || len(got.Damaged) > 0 != (version >= 1) || got.DiskFull != (version >= 2) || got.MinFreeBytes > 0 != (version >= 2) {
			t.Errorf("version %d: %+v", version, got)
		}
	}
}

// A later program adds tagged fields; this one reads what it knows.
func TestUnknownTagsAreSkipped(t *testing.T) {
	req := &GetImageRequest{Offset: 7}
	b := req.AppendTo(nil)
	b = append(b[:len(b)-1], 1, 9, 3, 'n', 'e', 'w')
	got := &GetImageRequest{}
	if err := got.ReadFrom(b); err != nil || got.Offset != 7 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestKeysAndNames(t *testing.T) {
	for k := FirstKey; k <= LastKey; k++ {
		req := RequestForKey(k)
		if req == nil || req.Key() != k || req.ResponseKind().Key() != k || req.ResponseKind().RequestKind().Key() != k || Name(k) == "" || !IsKey(k) {
			t.Errorf("key %d is not complete", k)
		}
		if kmsg.RequestForKey(k) != nil {
			t.Errorf("key %d is Kafka's", k)
		}
	}
	if RequestForKey(LastKey+1) != nil || IsKey(FirstKey-1) {
		t.Error("keys of others are taken")
	}
	if !IsClient("chronikctl") || IsClient("kgo") {
		t.Error("clients are told apart wrongly")
	}
}

// FuzzRead: whatever the bytes, reading ends without a panic, and what was read is written and read the same again.
func FuzzRead(f *testing.F) {
	for i, m := range messages() {
		f.Add(uint8(i), m.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		all := messages()
		m := all[int(which)%len(all)]
		if m.ReadFrom(b) != nil {
			return
		}
		again := m.AppendTo(nil)
		second := reflect.New(reflect.TypeOf(m).Elem()).Interface().(codec)
		if err := second.ReadFrom(again); err != nil {
			t.Fatalf("%T: %v", m, err)
		}
		if !bytes.Equal(second.AppendTo(nil), again) {
			t.Fatalf("%T is not written as it was read", m)
		}
	})
}
