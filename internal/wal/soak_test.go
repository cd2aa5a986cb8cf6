package wal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/vfs"
)

// TestSoak has everything at once on a real disk: appenders, readers of recent and old records, and a recycler, over
// several lives of the log. Chunks and slots turn over while they are read: without the pins a reader would see the
// bytes of another commit.
func TestSoak(t *testing.T) {
	o := testOptions(vfs.OS)
	o.Dir = t.TempDir()
	o.MaxBytes, o.SealAfter = 2<<20, time.Millisecond
	var mu sync.Mutex
	var records []stored
	for life := range 3 {
		var got []stored
		w, rec := mustOpen(t, o, collect(&got))
		if life > 0 {
			if !rec.Clean {
				t.Errorf("life %d: %+v", life, rec)
			}
			compareTail(t, got, records)
		}
		stop := make(chan struct{})
		var readers, appenders sync.WaitGroup
		var reads atomic.Int64
		for r := range 2 {
			readers.Add(1)
			go func() {
				defer readers.Done()
				rng := rand.New(rand.NewPCG(uint64(life), uint64(r)))
				var dst []byte
				for {
					select {
					case <-stop:
						return
					default:
					}
					mu.Lock()
					if len(records) == 0 {
						mu.Unlock()
						continue
					}
					back := min(len(records), 1+rng.IntN(1+rng.IntN(400)))
					s := records[len(records)-back]
					mu.Unlock()
					var err error
					if dst, err = w.Read(s.ref, dst[:0]); errors.Is(err, ErrNotFound) && s.ref.Seq < w.Usage().OldestSeq {
						continue
					}
					if err != nil || !bytes.Equal(dst, s.data) {
						t.Errorf("read %+v: %v", s.ref, err)
						return
					}
					reads.Add(1)
				}
			}()
		}
		for a := range 2 {
			appenders.Add(1)
			go func() {
				defer appenders.Done()
				rng := rand.New(rand.NewPCG(uint64(life), uint64(100+a)))
				for i := range uint64(600) {
					b := payload(uint64(life)<<32|uint64(a)<<24|i, rng.IntN(4000))
					mu.Lock() // so that records are in the log's order
					ref, err := w.Append(testKind, len(b), func(dst []byte) { copy(dst, b) }, nil, 0)
					if err == nil {
						records = append(records, stored{ref, b})
					}
					mu.Unlock()
					if errors.Is(err, ErrFull) {
						mustSync(t, w)
					} else if err != nil {
						t.Errorf("append: %v", err)
						return
					}
					if s := w.Slots(); len(s) > 8 {
						if err := w.Recycle(s[2].LastSeq); err != nil {
							t.Error(err)
						}
					}
				}
			}()
		}
		appenders.Wait()
		close(stop)
		readers.Wait()
		mustClose(t, w)
		t.Logf("life %d: %d records, %d reads", life, len(records), reads.Load())
	}
}

// TestOpenIsQuick: a new log with default sizes takes no time and little disk and memory.
func TestOpenIsQuick(t *testing.T) {
	o := Options{Dir: t.TempDir(), Logger: testOptions(nil).Logger}
	began := time.Now()
	w, _ := mustOpen(t, o, nil)
	opened := time.Since(began)
	appendRecord(t, w, payload(1, 100), nil, 0)
	mustSync(t, w)
	first := time.Since(began)
	time.Sleep(50 * time.Millisecond)
	u := w.Usage()
	t.Logf("open %v, first durable record %v, usage %+v", opened, first, u)
	if u.DiskBytes > 16<<20 || u.RingBytes > 4<<20 {
		t.Errorf("an idle log takes %d bytes of disk, %d of ring", u.DiskBytes, u.RingBytes)
	}
	if first > 2*time.Second {
		t.Errorf("first record durable after %v", first)
	}
	mustClose(t, w)
}
