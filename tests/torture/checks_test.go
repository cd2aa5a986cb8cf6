package torture

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
)

// A check that cannot fail shows nothing: each way in which replicas can differ must be found.
func TestComparisonFindsEachDifference(t *testing.T) {
	id := partition.ID{Topic: uuid.UUID{1}}
	values := func(v ...string) []string { return v }
	replicas := func(logs ...[]string) (stores []*partition.Store) {
		for _, l := range logs {
			s, err := partition.OpenStore(partition.StoreOptions{FS: vfs.NewMem(), Dir: "d", Logger: slog.New(slog.DiscardHandler),
				WAL: wal.Options{SlotBytes: 1 << 20, ZeroStep: 1 << 20, MaxBytes: 16 << 20}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			stores = append(stores, s)
			if l == nil {
				continue
			}
			log, err := s.Create(id, 0, partition.DefaultLogConfig())
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range l {
				b := recordbatch.NewBuilder()
				b.Append(1, nil, []byte(v))
				raw, err := b.Build(recordbatch.None)
				if err != nil {
					t.Fatal(err)
				}
				info, err := recordbatch.Validate(raw, recordbatch.Limits{})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := log.Append(raw, partition.AppendOptions{Info: info, NowMs: 1}); err != nil {
					t.Fatal(err)
				}
			}
		}
		return stores
	}
	good := values("a", "b", "c")
	for _, tc := range []struct {
		name  string
		third []string
		ok    bool
	}{
		{"equal", good, true},
		{"more above the committed end", values("a", "b", "c", "d"), true},
		{"another record", values("a", "x", "c"), false},
		{"too short", values("a", "b"), false},
		{"no log", nil, false},
	} {
		compared, differ := compareLog(id, 3, replicas(good, good, tc.third))
		if tc.ok != (len(differ) == 0) || compared < 6 {
			t.Errorf("%s: %d batches compared, %q", tc.name, compared, differ)
		}
	}
}

func TestScheduleComesFromItsSeed(t *testing.T) {
	all := kinds(needs{disks: true, strace: true}, nil)
	draw := func(seed uint64) (s []string) {
		x := NewSchedule(seed, all)
		for range 2 * len(all) {
			s = append(s, fmt.Sprintf("%+v", x.Next()))
		}
		return s
	}
	if one := draw(1); !slices.Equal(one, draw(1)) || slices.Equal(one, draw(2)) {
		t.Error("the faults do not depend on the seed, or on more than that")
	}
	seen := map[string]int{}
	x := NewSchedule(3, all)
	for range all {
		f := x.Next()
		seen[f.Kind()]++
	}
	want := map[string]int{}
	for _, f := range all {
		want[f.Kind()]++
	}
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("a round has %v, want %v", seen, want)
	}
}
