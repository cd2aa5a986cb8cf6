package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/vfs"
)

// history is what a run has appended and been told, shared by the run and the images taken of it.
type history struct {
	mu       sync.Mutex
	records  []stored // in order
	durable  int      // records reported durable
	recycled uint64   // Recycle may have given back commits up to this sequence
}

// image is a disk after a crash, and what it has to hold.
type image struct {
	fs       *vfs.Mem
	durable  int
	appended int
	recycled uint64
	where    string
}

// check recovers an image and compares it with the history. It returns the number of records that the log ends with.
func (h *history) check(img image, o Options) (*WAL, int, error) {
	var got []stored
	o.FS = img.fs
	w, rec, err := Open(o, collect(&got))
	if err != nil {
		return nil, 0, fmt.Errorf("recovery: %w", err)
	}
	fail := func(format string, args ...any) (*WAL, int, error) {
		_ = w.Close()
		return nil, 0, fmt.Errorf(format+" (%+v)", append(args, *rec)...)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	first := 0
	if len(got) > 0 {
		for first < len(h.records) && h.records[first].ref != got[0].ref {
			first++
		}
	} else {
		first = img.durable
	}
	if first > 0 && first <= len(h.records) && h.records[first-1].ref.Seq > img.recycled {
		return fail("log begins with record %d though only commits up to %d were recycled", first, img.recycled)
	}
	end := first + len(got)
	if end > img.appended {
		return fail("log ends with record %d of %d", end, img.appended)
	}
	for i, s := range got {
		if want := h.records[first+i]; s.ref != want.ref || !bytes.Equal(s.data, want.data) {
			return fail("record %d is %+v, want %+v", first+i, s.ref, want.ref)
		}
		if b, err := w.Read(s.ref, nil); err != nil || !bytes.Equal(b, s.data) {
			return fail("read of record %d: %v", first+i, err)
		}
	}
	if end < img.durable {
		return fail("log ends with record %d, %d were reported durable", end, img.durable)
	}
	return w, end, nil
}

// crashRun drives a log over memory and crashes it at its writes and syncs.
type crashRun struct {
	o       Options
	rng     *rand.Rand
	mem     *vfs.Mem
	h       *history
	mu      sync.Mutex // guards the rest: hooks run on the log's goroutines
	hookRNG *rand.Rand
	images  []image
	every   int // one image per that many disk operations, on average
	most    int
}

func (r *crashRun) hook(op vfs.Op, path string) {
	if op&(vfs.OpWrite|vfs.OpSync|vfs.OpSyncDir|vfs.OpOpen|vfs.OpRemove) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.images) < r.most && r.hookRNG.IntN(r.every) == 0 {
		r.images = append(r.images, r.snapshot(fmt.Sprintf("op %d on %s", op, path)))
	}
}

// snapshot crashes the disk as it is now. What was reported before is required; what may be recycled is read after.
func (r *crashRun) snapshot(where string) image {
	r.h.mu.Lock()
	durable := r.h.durable
	r.h.mu.Unlock()
	img := image{fs: r.mem.Crash(r.hookRNG), durable: durable, where: where}
	r.h.mu.Lock()
	img.recycled, img.appended = r.h.recycled, len(r.h.records)
	r.h.mu.Unlock()
	return img
}

// work appends up to n records, recycling when the log is half full.
func (r *crashRun) work(w *WAL, n int) error {
	sub := &Sub{Durable: func(mark int64) {
		r.h.mu.Lock()
		defer r.h.mu.Unlock()
		r.h.durable = max(r.h.durable, int(mark))
	}}
	burst := 1
	for range n {
		size := r.rng.IntN(2000)
		switch r.rng.IntN(40) {
		case 0:
			size = r.rng.IntN(int(r.o.ChunkBytes) * 2)
		case 1:
			size = 0
		}
		r.h.mu.Lock()
		i := len(r.h.records)
		b := payload(uint64(i), size)
		if r.rng.IntN(8) == 0 {
			clear(b[8:]) // sectors of zeros, as a missing one looks
		}
		// The record counts as appended before it is: an image may be taken in between.
		r.h.records = append(r.h.records, stored{data: b})
		r.h.mu.Unlock()
		fill := func(dst []byte) { copy(dst, b) }
		var ref Ref
		var err error
		if r.rng.IntN(4) == 0 {
			ref, err = w.AppendDeferred(testKind, len(b), fill) // durable with what comes behind it
		} else {
			ref, err = w.Append(testKind, len(b), fill, sub, int64(i+1))
		}
		if err != nil {
			r.h.mu.Lock()
			r.h.records = r.h.records[:i]
			r.h.mu.Unlock()
			return err
		}
		r.h.mu.Lock()
		r.h.records[i].ref = ref
		r.h.mu.Unlock()
		if burst--; burst <= 0 {
			burst = r.rng.IntN(30)
			if err := w.Sync(context.Background()); err != nil {
				return err
			}
		}
		if s := w.Slots(); len(s) > 4 {
			upTo := s[r.rng.IntN(2)].LastSeq
			r.h.mu.Lock()
			r.h.recycled = max(r.h.recycled, upTo)
			r.h.mu.Unlock()
			if err := w.Recycle(upTo); err != nil {
				return err
			}
		}
	}
	return nil
}

// crashOptions vary with the seed.
func crashOptions(seed uint64) Options {
	o := testOptions(nil)
	o.SlotBytes, o.MaxBytes, o.ZeroStep = 64<<10, 512<<10, 16<<10
	o.RingBytes, o.ChunkBytes, o.MaxPendingBytes = 64<<10, 16<<10, 24<<10
	o.Reserve = int(seed % 2)
	if seed%3 == 0 {
		o.SealAfter = time.Millisecond
	}
	o.OnFatal = func(error) {}
	return o
}

// crashSeed runs one seed: appends with crashes at random places, recovery of each image, and for some of them more
// appends and a second crash of the recovered log.
func crashSeed(seed uint64, b bugs) error {
	o := crashOptions(seed)
	o.bugs = b
	h := &history{}
	return crashLevel(seed, o, vfs.NewMem(), h, 3)
}

func crashLevel(seed uint64, o Options, mem *vfs.Mem, h *history, depth int) error {
	rng := rand.New(rand.NewPCG(seed, uint64(depth)))
	r := &crashRun{o: o, rng: rng, mem: mem, h: h, hookRNG: rand.New(rand.NewPCG(seed, 77)), every: 1 + rng.IntN(40), most: 12}
	faulty := vfs.NewFaulty(mem)
	faulty.Before = r.hook
	o.FS = faulty
	w, _, err := Open(o, func(Record) error { return nil })
	if err != nil {
		return fmt.Errorf("depth %d: open: %w", depth, err)
	}
	n := 60 + rng.IntN(200)
	kill := rng.IntN(2) == 0
	if kill {
		// A sync that fails: the process ends with a commit written and not synced.
		faulty.Inject(vfs.Rule{Ops: vfs.OpSync, Skip: rng.IntN(40), Err: syscall.EIO})
	}
	err = r.work(w, n)
	if err != nil && !errors.Is(err, ErrFailed) {
		_ = w.Close()
		return fmt.Errorf("depth %d: %w", depth, err)
	}
	r.mu.Lock()
	r.images = append(r.images, r.snapshot("end of work"))
	r.every = 1 << 30
	r.mu.Unlock()
	if cerr := w.Close(); err == nil && cerr != nil && !errors.Is(cerr, ErrFailed) {
		return fmt.Errorf("depth %d: close: %w", depth, cerr)
	}
	if kill {
		if err := reopenAfterKill(r, o, h); err != nil {
			return fmt.Errorf("depth %d: %w", depth, err)
		}
	}
	for i, img := range r.images {
		rw, end, err := h.check(img, r.o)
		if err != nil {
			return fmt.Errorf("depth %d, image %d at %s: %w", depth, i, img.where, err)
		}
		if err := rw.Close(); err != nil {
			return err
		}
		if depth == 0 || i%4 != 3 {
			continue
		}
		// Go on from the image: its log is the history now.
		h.mu.Lock()
		branch := &history{records: append([]stored(nil), h.records[:end]...), durable: end, recycled: h.recycled}
		h.mu.Unlock()
		if err := crashLevel(seed*31+uint64(i), r.o, img.fs, branch, depth-1); err != nil {
			return err
		}
	}
	return nil
}

// reopenAfterKill recovers without a power failure, so that unsynced bytes are still seen; what this recovery reports
// must survive a power failure right after it.
func reopenAfterKill(r *crashRun, o Options, h *history) error {
	o.FS = r.mem
	if r.rng.IntN(2) == 0 {
		for n := range 8 {
			_ = r.mem.LoseUnsynced("wal/" + slotName(n)) // not all exist
		}
	}
	h.mu.Lock()
	img := image{fs: r.mem, durable: h.durable, appended: len(h.records), recycled: h.recycled}
	h.mu.Unlock()
	w, end, err := h.check(img, r.o)
	if err != nil {
		return fmt.Errorf("after the kill: %w", err)
	}
	h.mu.Lock()
	h.durable = max(h.durable, end)
	h.mu.Unlock()
	for range 6 {
		r.images = append(r.images, r.snapshot("after kill and recovery"))
	}
	return w.Close()
}

// seeds returns how many seeds to run: the default, or CHRONIK_SEEDS.
func seeds(def uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv("CHRONIK_SEEDS"), 10, 32); err == nil {
		return n
	}
	return def
}

func TestCrash(t *testing.T) {
	for seed := range seeds(16) {
		if err := crashSeed(seed, bugs{}); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestSeededBugs proves that TestCrash can fail: each bug must be found within its budget of seeds.
func TestSeededBugs(t *testing.T) {
	tests := []struct {
		name string
		b    bugs
	}{
		{"skip rewrite", bugs{skipRewrite: true}},
		{"no salt", bugs{noSalt: true}},
		{"early next", bugs{earlyNext: true}},
		{"ack unsynced", bugs{ackUnsynced: true}},
		{"no next header", bugs{noNextHeader: true}},
		{"no cut", bugs{noCut: true}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			for seed := range max(300, seeds(300)) {
				if err := crashSeed(seed, tc.b); err != nil {
					t.Logf("found at seed %d: %v", seed, err)
					return
				}
			}
			t.Errorf("not found")
		})
	}
}
