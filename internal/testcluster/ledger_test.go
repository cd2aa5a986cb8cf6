package testcluster

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func record(partition int32, offset int64, n int) *kgo.Record {
	return &kgo.Record{Topic: "t", Partition: partition, Offset: offset, Value: Value("w", partition, n)}
}

// A check that cannot fail shows nothing: each kind of damage must be found.
func TestLedgerFindsEachKindOfDamage(t *testing.T) {
	good := func() []*kgo.Record {
		return []*kgo.Record{record(0, 0, 0), record(0, 1, 1), record(0, 2, 2), record(1, 0, 0), record(1, 1, 1)}
	}
	for _, tc := range []struct {
		name   string
		damage func([]*kgo.Record) []*kgo.Record
		want   func(Verdict) int
	}{
		{"lost at the end", func(r []*kgo.Record) []*kgo.Record { return r[:4] }, func(v Verdict) int { return v.Lost }},
		{"lost in the middle", func(r []*kgo.Record) []*kgo.Record { return append(r[:1:1], r[2:]...) }, func(v Verdict) int { return v.Lost }},
		{"hole in the offsets", func(r []*kgo.Record) []*kgo.Record { return append(r[:1:1], r[2:]...) }, func(v Verdict) int { return v.Gap }},
		{"duplicated", func(r []*kgo.Record) []*kgo.Record { return append(r, record(1, 2, 1)) }, func(v Verdict) int { return v.Duplicated }},
		{"reordered", func(r []*kgo.Record) []*kgo.Record { r[0].Value, r[1].Value = r[1].Value, r[0].Value; return r }, func(v Verdict) int { return v.Reordered }},
		{"at another offset", func(r []*kgo.Record) []*kgo.Record { r[4].Offset++; return r }, func(v Verdict) int { return v.Moved }},
		{"changed after it was read", func(r []*kgo.Record) []*kgo.Record { r[2].Value = Value("w", 0, 9); return r }, func(v Verdict) int { return v.Changed }},
	} {
		l := NewLedger()
		for _, r := range good() {
			l.Ack(r)
			if err := l.See(r); err != nil {
				t.Fatal(err)
			}
		}
		if v := l.Check(good()); !v.OK() || v.Acked != 5 {
			t.Fatalf("undamaged: %v %v", v, v.Examples)
		}
		if v := l.Check(tc.damage(good())); v.OK() || tc.want(v) == 0 {
			t.Errorf("%s: %v", tc.name, v)
		}
	}
}

func TestLedgerSeesARecordChange(t *testing.T) {
	l := NewLedger()
	if err := l.See(record(0, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if err := l.See(record(0, 0, 0)); err != nil {
		t.Error(err)
	}
	if err := l.See(record(0, 0, 1)); err == nil {
		t.Error("another value at the same offset was not noticed")
	}
}

// Copies of a writer that is not idempotent are counted apart; what it was told must be there all the same, and first copies in order.
func TestLedgerLetsSomeRepeat(t *testing.T) {
	l := NewLedger()
	l.MayRepeat = func(writer string) bool { return writer == "w/1" }
	repeated := []*kgo.Record{record(1, 0, 0), record(1, 1, 1), record(1, 2, 0), record(1, 3, 1), record(1, 4, 2)}
	l.Ack(repeated[2]) // the second copy was acknowledged
	if v := l.Check(repeated); !v.OK() || v.Repeated != 2 {
		t.Errorf("repeated: %v %v", v, v.Examples)
	}
	if v := l.Check([]*kgo.Record{repeated[0], repeated[1]}); v.OK() || v.Moved != 1 {
		t.Errorf("the acknowledged copy is not there: %v", v)
	}
	if v := l.Check([]*kgo.Record{record(1, 0, 1), record(1, 1, 0)}); v.OK() || v.Reordered != 1 {
		t.Errorf("reordered: %v", v)
	}
	if v := l.Check(append(repeated, record(0, 0, 0), record(0, 1, 0))); v.OK() || v.Duplicated != 1 {
		t.Errorf("an idempotent one repeats: %v", v)
	}
}
