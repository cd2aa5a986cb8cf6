package wal

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"
)

// BenchmarkAppendSync: n appenders, each waiting until its 1 KiB record is durable before it appends the next.
func BenchmarkAppendSync(b *testing.B) {
	for _, n := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("appenders=%d", n), func(b *testing.B) { benchAppend(b, n, 1) })
	}
}

// BenchmarkAppendPipelined: as above with 64 records in flight per appender.
func BenchmarkAppendPipelined(b *testing.B) {
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprintf("appenders=%d", n), func(b *testing.B) { benchAppend(b, n, 64) })
	}
}

func benchAppend(b *testing.B, appenders, inFlight int) {
	o := Options{Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)}
	w, _ := mustOpen(b, o, nil)
	defer mustClose(b, w)
	stop := make(chan struct{})
	var recycler sync.WaitGroup
	recycler.Add(1)
	go func() {
		defer recycler.Done()
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				if s := w.Slots(); len(s) > 8 {
					_ = w.Recycle(s[len(s)-8].LastSeq)
				}
			}
		}
	}()
	record := payload(1, 1024)
	fill := func(dst []byte) { copy(dst, record) }
	share := max(1, b.N/appenders)
	before := w.Usage().Commits
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range appenders {
		wg.Add(1)
		go func() {
			defer wg.Done()
			done := make(chan int64, 1)
			sub := &Sub{Durable: func(mark int64) {
				select { // only the largest matters
				case <-done:
				default:
				}
				done <- mark
			}}
			acked := int64(0)
			for i := int64(1); i <= int64(share); i++ {
				if _, err := w.Append(testKind, len(record), fill, sub, i); err != nil {
					b.Error(err)
					return
				}
				for i-acked >= int64(inFlight) {
					acked = <-done
				}
			}
			for acked < int64(share) {
				acked = <-done
			}
		}()
	}
	wg.Wait()
	b.StopTimer()
	close(stop)
	recycler.Wait()
	secs := b.Elapsed().Seconds()
	b.ReportMetric(float64(w.Usage().Commits-before)/secs, "commits/s")
	b.ReportMetric(float64(share*appenders)/secs, "records/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkAppend is the cost of Append itself, with the disk left out.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{100, 1024} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			w, _ := mustOpen(b, Options{Dir: b.TempDir(), FS: nullFS{}, Logger: slog.New(slog.DiscardHandler)}, nil)
			defer mustClose(b, w)
			record := payload(1, size)
			fill := func(dst []byte) { copy(dst, record) }
			sub := &Sub{Durable: func(int64) {}}
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				if _, err := w.Append(testKind, size, fill, sub, int64(i)); err != nil {
					b.Fatal(err)
				}
				if i%65536 == 0 {
					if s := w.Slots(); len(s) > 4 {
						_ = w.Recycle(s[len(s)-4].LastSeq)
					}
				}
			}
		})
	}
}

// BenchmarkReplay reads a log of 1 GiB of 1 KiB records.
func BenchmarkReplay(b *testing.B) {
	o := Options{Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler), MaxBytes: 2 << 30}
	w, _ := mustOpen(b, o, nil)
	record := payload(1, 1024)
	for range 1 << 20 {
		appendRecord(b, w, record, nil, 0)
	}
	mustClose(b, w)
	for b.Loop() {
		n := 0
		w, rec := mustOpen(b, o, func(r Record) error { n += len(r.Payload); return nil })
		if n != 1<<30 {
			b.Fatalf("replayed %d bytes", n)
		}
		b.SetBytes(rec.Bytes)
		b.ReportMetric(rec.Elapsed.Seconds()*1000, "ms/open")
		b.StopTimer()
		mustClose(b, w)
		b.StartTimer()
	}
}

// BenchmarkReadRing and the file variant read one 1 KiB record at random.
func BenchmarkRead(b *testing.B) {
	w, _ := mustOpen(b, Options{Dir: b.TempDir(), RingBytes: 64 << 20, Logger: slog.New(slog.DiscardHandler)}, nil)
	defer mustClose(b, w)
	record := payload(1, 1024)
	var refs []Ref
	for range 200_000 {
		refs = append(refs, appendRecord(b, w, record, nil, 0))
	}
	mustSync(b, w)
	run := func(name string, refs []Ref) {
		b.Run(name, func(b *testing.B) {
			var dst []byte
			var err error
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if dst, err = w.Read(refs[i*7919%len(refs)], dst[:0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("ring", refs[len(refs)-20_000:])
	run("file", refs[:20_000])
}
