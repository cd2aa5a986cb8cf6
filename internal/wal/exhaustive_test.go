package wal

import (
	"fmt"
	"slices"
	"testing"

	"github.com/chronik-io/chronik/internal/vfs"
)

// odometer enumerates all sequences of picks of a CrashWith.
type odometer struct {
	picks, limits []int
	at            int
}

func (o *odometer) choose(n int) int {
	if o.at == len(o.picks) {
		o.picks, o.limits = append(o.picks, 0), append(o.limits, n)
	}
	o.at++
	return o.picks[o.at-1]
}

// next goes to the following sequence; false after the last.
func (o *odometer) next() bool {
	o.at = 0
	for i := len(o.picks) - 1; i >= 0; i-- {
		if o.picks[i]+1 < o.limits[i] {
			o.picks[i]++
			o.picks, o.limits = o.picks[:i+1], o.limits[:i+1]
			return true
		}
	}
	return false
}

// outcomes returns how many disks a crash may leave now, at most limit.
func outcomes(m *vfs.Mem, limit int) int {
	total := 1
	m.CrashWith(func(n int) int {
		if total *= n; total > limit {
			total = limit
		}
		return 0
	})
	return total
}

// TestCrashExhaustive writes one small commit after the other, over the end of slots, and before every sync tries every
// subset of the unsynced sectors and directory entries.
func TestCrashExhaustive(t *testing.T) {
	const limit = 1 << 9
	for reserve := range 2 {
		t.Run(fmt.Sprintf("reserve=%d", reserve), func(t *testing.T) {
			o := testOptions(nil)
			o.SlotBytes, o.MaxBytes, o.ZeroStep, o.Reserve = 8*blockSize, 32*blockSize, blockSize, reserve
			o.RingBytes, o.ChunkBytes = 8*blockSize, 2*blockSize
			mem := vfs.NewMem()
			r := &crashRun{o: o, mem: mem, h: &history{}}
			faulty := vfs.NewFaulty(mem)
			total, skipped := 0, 0
			faulty.Before = func(op vfs.Op, path string) {
				if op&(vfs.OpSync|vfs.OpSyncDir) == 0 {
					return
				}
				r.mu.Lock()
				defer r.mu.Unlock()
				if outcomes(mem, limit) == limit {
					skipped++ // the filler is at work too; TestCrash samples these
					return
				}
				r.h.mu.Lock()
				durable := r.h.durable
				r.h.mu.Unlock()
				var images []image
				for od := (odometer{}); ; {
					images = append(images, image{fs: mem.CrashWith(od.choose), durable: durable, where: fmt.Sprintf("picks %v before op %d on %s", slices.Clone(od.picks), op, path)})
					if !od.next() || len(images) > 2*limit {
						break
					}
				}
				r.h.mu.Lock()
				recycled, appended := r.h.recycled, len(r.h.records)
				r.h.mu.Unlock()
				for _, img := range images {
					total++
					img.recycled, img.appended = recycled, appended
					w, _, err := r.h.check(img, o)
					if err != nil {
						t.Errorf("%s: %v", img.where, err)
						return
					}
					_ = w.Close()
				}
			}
			o.FS = faulty
			w, _ := mustOpen(t, o, nil)
			sub := &Sub{Durable: func(mark int64) {
				r.h.mu.Lock()
				defer r.h.mu.Unlock()
				r.h.durable = int(mark)
			}}
			for i := range int(seeds(5)) {
				b := payload(uint64(i), 700+i%12*100)
				r.h.mu.Lock()
				// What the next commit's place is follows from the log being idle.
				r.h.records = append(r.h.records, stored{Ref{w.Usage().NextSeq, commitHeaderSize + frameHeaderSize, uint32(len(b))}, b})
				r.h.mu.Unlock()
				ref := appendRecord(t, w, b, sub, int64(i+1))
				r.h.mu.Lock()
				r.h.records[i].ref = ref // one later if a Roll came before it
				r.h.mu.Unlock()
				mustSync(t, w)
				if s := w.Slots(); len(s) > 2 {
					r.h.mu.Lock()
					r.h.recycled = s[0].LastSeq
					r.h.mu.Unlock()
					if err := w.Recycle(s[0].LastSeq); err != nil {
						t.Fatal(err)
					}
				}
			}
			mustClose(t, w)
			t.Logf("%d disks checked; %d syncs skipped", total, skipped)
			if total < 500 {
				t.Errorf("only %d disks checked", total)
			}
		})
	}
}
