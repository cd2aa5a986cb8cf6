package partition

import (
	"errors"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/vfs"
)

// fakeClock is a wall clock; its times carry no monotonic reading, so it stands for both clocks unless wall is moved.
type fakeClock struct{ now time.Time }

func segmented(f *fixture, l *Log, batches int) {
	f.t.Helper()
	for i := range batches {
		f.append(l, makeBatch(1, 1000, testTime+int64(i)*1000, nil))
	}
	f.settle(l)
	f.materialize(l)
}

func smallSegments() LogConfig {
	c := DefaultLogConfig()
	c.SegmentBytes, c.IndexIntervalBytes = 5000, 2000
	return c
}

func (f *fixture) files(l *Log) int {
	bases, err := segmentBases(f.fs, l.dir())
	if err != nil {
		f.t.Fatal(err)
	}
	return len(bases)
}

func TestRetention(t *testing.T) {
	clock := &fakeClock{now: time.UnixMilli(testTime)}
	for _, tt := range []struct {
		name  string
		edit  func(*LogConfig)
		later time.Duration
		start int64 // expected, of 20 batches one second apart: 16 in segments of 4, 4 in the WAL
	}{
		{name: "nothing is old", edit: func(c *LogConfig) {}, later: time.Hour, start: 0},
		{name: "time, some segments", edit: func(c *LogConfig) { c.RetentionMs = 10_000 }, later: 17*time.Second + 500*time.Millisecond, start: 8},
		{name: "time, everything", edit: func(c *LogConfig) { c.RetentionMs = 10_000 }, later: time.Hour, start: 20},
		{name: "size", edit: func(c *LogConfig) { c.RetentionBytes = 12_000 }, start: 8},
		{name: "size 0 leaves the open piece", edit: func(c *LogConfig) { c.RetentionBytes = 0 }, start: 16},
		{name: "compacted only", edit: func(c *LogConfig) { c.RetentionMs, c.Delete, c.Compact = 1, false, true }, later: time.Hour, start: 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, vfs.NewMem(), func(o *StoreOptions) { o.Now = func() time.Time { return clock.now } })
			cfg := smallSegments()
			tt.edit(&cfg)
			l, err := f.s.Create(testID(1, 0), 0, cfg)
			if err != nil {
				t.Fatal(err)
			}
			segmented(f, l, 16)
			for i := 16; i < 20; i++ {
				f.append(l, makeBatch(1, 1000, testTime+int64(i)*1000, nil))
			}
			if err := f.s.applyRetention(); err != nil {
				t.Fatal(err)
			}
			f.settle(l)
			clock.now = time.UnixMilli(testTime).Add(tt.later)
			f.s.clock.start(clock.now) // no jump
			if err := f.s.applyRetention(); err != nil {
				t.Fatal(err)
			}
			clock.now = time.UnixMilli(testTime)
			if l.Start() != tt.start || l.End() != 20 {
				t.Fatalf("log %d to %d, expected it to start at %d", l.Start(), l.End(), tt.start)
			}
			if want := 4 - int(min(tt.start, 16))/4; f.files(l) != want && !(tt.start == 16 && f.files(l) == 1) {
				t.Fatalf("%d segment files, expected %d", f.files(l), want)
			}
			if _, err := readAll(l); err != nil {
				t.Fatal(err)
			}
			f.reopen()
			l = f.s.Get(testID(1, 0))
			if l.Start() != tt.start || l.End() != 20 {
				t.Fatalf("after a restart: log %d to %d", l.Start(), l.End())
			}
			if _, err := readAll(l); err != nil {
				t.Fatal(err)
			}
			if res := f.append(l, makeBatch(1, 10, testTime, nil)); res.BaseOffset != 20 || res.LogStart != tt.start {
				t.Fatalf("%+v", res)
			}
		})
	}
}

func TestRetentionSparesWhatIsAboveTheHighWatermark(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), nil)
	cfg := smallSegments()
	cfg.RetentionMs = 1
	l, err := f.s.Create(testID(1, 0), 0, cfg)
	if err != nil {
		t.Fatal(err)
	}
	segmented(f, l, 8)
	f.append(l, makeBatch(1, 1000, testTime, nil))
	if err := f.s.syncWAL(); err != nil {
		t.Fatal(err)
	}
	if err := f.s.applyRetention(); err != nil {
		t.Fatal(err)
	}
	if l.Start() != 8 || l.End() != 9 {
		t.Fatalf("log %d to %d", l.Start(), l.End())
	}
}

// The wall clock jumps a year ahead, as with a bad time server: nothing may be deleted for it until somebody had an hour to notice.
func TestClockJumpPausesTimeRetention(t *testing.T) {
	var c clockWatch
	now := time.Now()
	c.start(now)
	if jump := c.look(now.Add(time.Minute)); jump != 0 {
		t.Fatal(jump)
	}
	if jump := wallJump(now.Add(time.Hour), now, time.Minute); jump != 59*time.Minute {
		t.Fatal(jump)
	}
	c.last = now.Add(-time.Hour).Round(0) // readings differ by an hour on the wall and by nothing that is known otherwise
	if jump := c.look(now.Round(0)); jump != 0 || !c.paused.IsZero() {
		t.Fatal("a clock without a monotonic reading cannot show a jump")
	}
	old := []piece{{end: 5, bytes: 10, maxTs: 1}, {end: 9, bytes: 10, maxTs: 1, open: true}}
	cfg := DefaultLogConfig()
	cfg.RetentionBytes = 10
	if got := expired(old, &cfg, 9, testTime, true); got != 9 {
		t.Fatal(got)
	}
	if got := expired(old, &cfg, 9, testTime, false); got != 5 {
		t.Fatal("size retention goes on while time retention pauses: ", got)
	}
}

func TestDeleteRecords(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), nil)
	l, err := f.s.Create(testID(1, 0), 0, smallSegments())
	if err != nil {
		t.Fatal(err)
	}
	segmented(f, l, 10)
	f.append(l, makeBatch(4, 100, testTime, nil)) // 10 to 13
	f.append(l, makeBatch(4, 100, testTime, nil)) // 14 to 17
	if err := l.AdvanceStart(11); !errors.Is(err, ErrOutOfRange) {
		t.Fatalf("above the high watermark: %v", err)
	}
	f.settle(l)
	for _, to := range []int64{5, 3, 12, 18} {
		if err := l.AdvanceStart(to); err != nil {
			t.Fatal(err)
		}
		if err := f.s.cleanPending(); err != nil {
			t.Fatal(err)
		}
		want := max(to, 5)
		check := func() {
			t.Helper()
			if l.Start() != want || l.End() != 18 {
				t.Fatalf("log %d to %d, expected %d", l.Start(), l.End(), want)
			}
			if _, err := readAll(l); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Read(nil, want-1, 18, 1, true); !errors.Is(err, ErrOutOfRange) {
				t.Fatal(err)
			}
		}
		check()
		f.reopen()
		l = f.s.Get(testID(1, 0))
		l.SetConfig(smallSegments())
		check()
		f.settle(l)
	}
	if n := f.files(l); n != 0 {
		t.Fatalf("%d segment files are left of an empty log", n)
	}
	segmented(f, l, 10)
	if n := f.files(l); n != 3 {
		t.Fatalf("%d segment files", n)
	}
}

func TestLookups(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), nil)
	l, err := f.s.Create(testID(1, 0), 0, smallSegments())
	if err != nil {
		t.Fatal(err)
	}
	empty := TimeOffset{Offset: -1, TimestampMs: -1, LeaderEpoch: -1}
	if got, err := l.MaxTimestamp(); err != nil || got != empty {
		t.Fatal(got, err)
	}
	if e, end := l.EpochEnd(0); e != -1 || end != -1 {
		t.Fatal(e, end)
	}
	// Three records a batch; batch i has times from i*10 s on, except that batch 7 is the newest of all.
	for i := range 24 {
		ts := testTime + int64(i)*10_000
		if i == 7 {
			ts = testTime + 1_000_000
		}
		epoch := int32(i / 6 * 2)
		if _, err := appendBatch(l, makeBatch(3, 400, ts, nil), epoch); err != nil {
			t.Fatal(err)
		}
		if i == 15 {
			f.settle(l)
			f.materialize(l)
		}
	}
	f.settle(l)
	check := func() {
		t.Helper()
		for _, tt := range []struct{ ts, want int64 }{
			{0, 0}, {testTime, 0}, {testTime + 1, 1}, {testTime + 2, 2}, {testTime + 3, 3}, {testTime + 60_002, 20}, {testTime + 60_003, 21},
			{testTime + 80_000, 21}, {testTime + 1_000_002, 23}, {testTime + 1_000_003, -1},
		} {
			got, err := l.OffsetForTime(tt.ts)
			if err != nil || got.Offset != tt.want || got.Offset >= 0 && got.TimestampMs < tt.ts {
				t.Fatalf("time +%d: %+v, expected %d: %v", tt.ts-testTime, got, tt.want, err)
			}
			if got.Offset >= 0 && got.LeaderEpoch != int32(got.Offset/18*2) {
				t.Fatalf("%+v", got)
			}
		}
		if got, err := l.MaxTimestamp(); err != nil || got.Offset != 23 || got.TimestampMs != testTime+1_000_002 {
			t.Fatalf("%+v %v", got, err)
		}
		for _, tt := range []struct {
			ask, found int32
			end        int64
		}{{0, 0, 18}, {1, 0, 18}, {2, 2, 36}, {5, 4, 54}, {6, 6, 72}, {7, -1, -1}, {-1, -1, -1}} {
			if e, end := l.EpochEnd(tt.ask); e != tt.found || end != tt.end {
				t.Fatalf("epoch %d: %d ends at %d", tt.ask, e, end)
			}
		}
	}
	check()
	f.state(l)
	f.reopen()
	l = f.s.Get(testID(1, 0))
	check()
	l.SetHighWatermark(72)
	if err := l.AdvanceStart(24); err != nil {
		t.Fatal(err)
	}
	if got, err := l.MaxTimestamp(); err != nil || got.Offset != 71 {
		t.Fatalf("%+v %v", got, err)
	}
	if got, err := l.OffsetForTime(testTime); err != nil || got.Offset != 24 {
		t.Fatalf("%+v %v", got, err)
	}
	if e, end := l.EpochEnd(0); e != 0 || end != 24 {
		t.Fatal(e, end)
	}
	if n := l.Size(24, 72); n < 16*1200 || n > 25*1500 {
		t.Fatal(n)
	}
	infos, err := l.SegmentInfos()
	if err != nil || infos[len(infos)-1].EndOffset != 72 || infos[0].BaseOffset > 24 {
		t.Fatal(infos, err)
	}
}
