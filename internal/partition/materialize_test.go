package partition

import (
	"math/rand/v2"
	"testing"

	"github.com/chronik-io/chronik/internal/vfs"
)

// More than is written to a segment at a time, in batches of all sizes: what is kept back so that writes end at whole pages comes with the
// next one, in the same segment or before it is sealed.
func TestMaterializeManyWrites(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), func(o *StoreOptions) { o.WAL.SlotBytes, o.WAL.MaxBytes, o.WAL.RingBytes = 1<<20, 16<<20, 1<<20 })
	l := f.create(testID(1, 0))
	cfg := l.Config()
	cfg.SegmentBytes = 3*writeBytes + 12_345
	l.SetConfig(cfg)
	rng := rand.New(rand.NewPCG(1, 1))
	var want []byte
	for range 12 {
		for n := 0; n < 2*writeBytes+rng.IntN(writeBytes); {
			size := rng.IntN(2000)
			if rng.IntN(3) == 0 {
				size = rng.IntN(writeBytes / 2)
			}
			b := makeBatch(1, size, testTime, nil)
			f.append(l, b)
			want = append(want, b...)
			n += len(b)
		}
		f.settle(l)
		f.materialize(l)
		if l.segEnd.Load() != l.End() {
			t.Fatal("not all is in segments")
		}
		f.mustRead(l, want)
		if err := f.s.maintain(false); err != nil { // makes room in the WAL
			t.Fatal(err)
		}
	}
	if n := len(*l.segs.Load()); n < 5 {
		t.Fatalf("only %d segments", n)
	}
	f.reopen()
	f.mustRead(f.s.Get(l.ID()), want)
}
