package partition

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
)

// leaderBatch is a batch of n records of some size as a leader has it.
func leaderBatch(base int64, epoch int32, n, size int) []byte {
	b := makeBatch(n, size, testTime+base, nil)
	recordbatch.PatchBaseOffset(b, base)
	recordbatch.PatchLeaderEpoch(b, epoch)
	return b
}

func (f *fixture) replicate(l *Log, epoch int32, batches ...[]byte) {
	f.t.Helper()
	if last, err := l.AppendReplicated(epoch, slices.Concat(batches...), testTime); err != nil || last != l.End()-1 {
		f.t.Fatal(last, err)
	}
}

// stall makes syncs of the WAL wait until the function returned is called.
func stall(faulty *vfs.Faulty) (on func() (release func())) {
	var mu sync.Mutex
	var gate chan struct{}
	faulty.Before = func(op vfs.Op, path string) {
		mu.Lock()
		g := gate
		mu.Unlock()
		if g != nil && op == vfs.OpSync && strings.HasSuffix(path, ".wal") {
			<-g
		}
	}
	return func() func() {
		g := make(chan struct{})
		mu.Lock()
		gate = g
		mu.Unlock()
		return sync.OnceFunc(func() {
			mu.Lock()
			gate = nil
			mu.Unlock()
			close(g)
		})
	}
}

func TestAppendReplicatedRefuses(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), nil)
	damaged := leaderBatch(4, 3, 1, 100)
	damaged[len(damaged)-1] ^= 1
	for _, tt := range []struct {
		name    string
		epoch   int32
		batches []byte
		want    error
	}{
		{"nothing", 3, nil, ErrBadBatch},
		{"a stale leader", 2, leaderBatch(4, 2, 1, 10), ErrStaleLeaderEpoch},
		{"a gap before", 3, leaderBatch(5, 3, 1, 10), ErrOutOfRange},
		{"what is there", 3, leaderBatch(3, 3, 1, 10), ErrOutOfRange},
		{"an epoch below the last record's", 3, leaderBatch(4, 1, 1, 10), ErrBadBatch},
		{"an epoch above the leader's", 3, leaderBatch(4, 4, 1, 10), ErrBadBatch},
		{"no epoch", 3, leaderBatch(4, -1, 1, 10), ErrBadBatch},
		{"damage in the second", 3, slices.Concat(leaderBatch(4, 3, 1, 10), func() []byte { b := leaderBatch(5, 3, 1, 99); b[90] ^= 4; return b }()), ErrBadBatch},
		{"damage", 3, damaged, recordbatch.ErrCRC},
		{"half a batch", 3, leaderBatch(4, 3, 1, 100)[:120], ErrBadBatch},
		{"half a header", 3, slices.Concat(leaderBatch(4, 3, 1, 100), make([]byte, 30)), ErrBadBatch},
		{"a gap between", 3, slices.Concat(leaderBatch(4, 3, 1, 10), leaderBatch(6, 3, 1, 10)), ErrBadBatch},
		{"epochs that go down", 3, slices.Concat(leaderBatch(4, 3, 1, 10), leaderBatch(5, 2, 1, 10)), ErrBadBatch},
		{"one larger than a slot", 3, leaderBatch(4, 3, 1, 300<<10), ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := testID(1, 0)
			l := f.create(id)
			defer func() {
				if err := f.s.Drop(id); err != nil {
					t.Fatal(err)
				}
			}()
			before := slices.Concat(leaderBatch(0, 0, 2, 10), leaderBatch(2, 2, 2, 10))
			f.replicate(l, 2, before)
			if err := l.NoteLeaderEpoch(3); err != nil {
				t.Fatal(err)
			}
			if last, err := l.AppendReplicated(tt.epoch, tt.batches, testTime); !errors.Is(err, tt.want) || last != 3 {
				t.Fatal(last, err)
			}
			f.mustRead(l, before)
			if l.LastEpoch() != 2 {
				t.Fatal(l.LastEpoch(), l.Lineage())
			}
		})
	}
}

// A leader of epoch 5 that never appended follows one of epoch 6 that has records of epoch 4 which it never saw.
func TestLineageOfAFollower(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), nil)
	l := f.create(testID(1, 0))
	if l.LastEpoch() != -1 {
		t.Fatal(l.LastEpoch())
	}
	f.replicate(l, 4, leaderBatch(0, 2, 3, 10), leaderBatch(3, 4, 2, 10))
	if err := l.SetLeaderEpoch(5); err != nil {
		t.Fatal(err)
	}
	if l.LastEpoch() != 4 {
		t.Fatal("an epoch without records is not that of the last record")
	}
	if err := l.NoteLeaderEpoch(6); err != nil {
		t.Fatal(err)
	}
	if err := l.NoteLeaderEpoch(5); !errors.Is(err, ErrStaleLeaderEpoch) {
		t.Fatal(err)
	}
	f.replicate(l, 6, leaderBatch(5, 4, 1, 10), leaderBatch(6, 6, 1, 10), leaderBatch(7, 6, 1, 10))
	want := []EpochStart{{2, 0}, {4, 3}, {6, 6}}
	check := func(l *Log) {
		t.Helper()
		if got := l.Lineage(); !slices.Equal(got, want) || l.LastEpoch() != 6 {
			t.Fatal(got, l.LastEpoch())
		}
		for at, epoch := range map[int64]int32{-1: -1, 0: 2, 2: 2, 3: 4, 5: 4, 6: 6, 7: 6, 8: -1} {
			if got, ok := l.EpochAt(at); got != epoch || ok != (epoch >= 0) {
				t.Fatal(at, got, ok)
			}
		}
	}
	check(l)
	f.state(l)
	f.reopen()
	l = f.s.Get(testID(1, 0))
	check(l)
	f.settle(l)
	if err := l.AdvanceStart(8); err != nil {
		t.Fatal(err)
	}
	if l.LastEpoch() != -1 {
		t.Fatal("an empty log has no last record", l.LastEpoch())
	}
}

func TestAppendReplicatedAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	f := newFixture(t, vfs.OS, func(o *StoreOptions) { o.Dir, o.WAL.MaxBytes = t.TempDir(), 64<<20 })
	l := f.create(testID(1, 0))
	l.view = make([]entry, 0, 4096) // its growth is the only allocation
	batch := slices.Concat(leaderBatch(0, 0, 1, 100), leaderBatch(1, 0, 1, 100))
	one := len(batch) / 2
	if n := testing.AllocsPerRun(1500, func() {
		recordbatch.PatchBaseOffset(batch, l.End())
		recordbatch.PatchBaseOffset(batch[one:], l.End()+1)
		if _, err := l.AppendReplicated(0, batch, testTime); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Fatal(n, "allocations")
	}
	buf := make([]byte, 0, 4096+64)
	from := int64(0)
	if n := testing.AllocsPerRun(1000, func() {
		var err error
		if _, from, _, err = l.ReadForPush(buf, from, 4096); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Fatal(n, "allocations of a read")
	}
	if from < 1000 {
		t.Fatal(from)
	}
}

// What was in segments goes away with the reset, but not before the reset is durable; and it does not come back however late.
func TestResetFilesGoWhenItIsDurable(t *testing.T) {
	mem := vfs.NewMem()
	faulty := vfs.NewFaulty(mem)
	stallOn := stall(faulty)
	f := newFixture(t, faulty, nil)
	if err := mem.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	id := testID(1, 0)
	l, err := f.s.Create(id, 7, smallSegments())
	if err != nil {
		t.Fatal(err)
	}
	segmented(f, l, 20)
	f.state(l)
	old, err := readAll(l)
	if err != nil {
		t.Fatal(err)
	}
	release := stallOn()
	defer release()
	if err := l.Reset(9); err != nil { // does not wait
		t.Fatal(err)
	}
	if l.Start() != 9 || l.End() != 9 || l.HighWatermark() != 9 || l.LastEpoch() != -1 || len(l.Lineage()) != 0 {
		t.Fatal(l.Start(), l.End(), l.HighWatermark(), l.Lineage())
	}
	f.replicate(l, 1, leaderBatch(9, 1, 1, 500))
	cleaned := make(chan error, 1)
	go func() { cleaned <- f.s.cleanPending() }()
	time.Sleep(20 * time.Millisecond)
	if f.files(l) == 0 {
		t.Fatal("files went before the reset was durable")
	}
	// Power fails now: the reset is not on the disk, the log is as it was.
	crashed := &fixture{t: t, fs: mem.CrashWith(func(int) int { return 0 }), opts: f.opts}
	crashed.opts.FS = crashed.fs
	crashed.opts.WAL.FS = nil
	crashed.open()
	crashed.mustRead(crashed.s.Get(id), old)
	if err := crashed.s.Close(); err != nil {
		t.Fatal(err)
	}
	release()
	if err := <-cleaned; err != nil {
		t.Fatal(err)
	}
	if n := f.files(l); n != 0 {
		t.Fatal(n, "files left")
	}
	f.settle(l)
	f.materialize(l)
	f.reopen()
	l = f.s.Get(id)
	f.mustRead(l, leaderBatch(9, 1, 1, 500))
	if l.Start() != 9 || l.End() != 10 || l.Residency() != 7 {
		t.Fatal(l.Start(), l.End(), l.Residency())
	}
	if err := f.s.Drop(id); err != nil {
		t.Fatal(err)
	}
	if _, err := mem.Stat(filepath.Join("/data/topics", id.Topic.String())); err == nil {
		t.Fatal("directory left")
	}
}

// A reset makes a log with damaged data usable again.
func TestResetRepairs(t *testing.T) {
	mem := vfs.NewMem()
	f := newFixture(t, mem, nil)
	id := testID(1, 0)
	l, err := f.s.Create(id, 0, smallSegments())
	if err != nil {
		t.Fatal(err)
	}
	segmented(f, l, 20)
	f.state(l)
	dir := l.dir()
	f.reopen()
	for _, name := range []string{"00000000000000000000.log", "00000000000000000008.log"} {
		if err := mem.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	l = f.s.Get(id)
	if _, err := readAll(l); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	l.setDamaged(errors.New("as the maintenance would"))
	if _, err := l.AppendReplicated(0, leaderBatch(20, 0, 1, 10), testTime); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	if err := l.Reset(3); err != nil || l.Fault() != nil {
		t.Fatal(err, l.Fault())
	}
	var want []byte
	for i := range int64(300) {
		b := leaderBatch(3+i, 0, 1, 1000)
		f.replicate(l, 0, b)
		want = append(want, b...)
	}
	f.settle(l)
	if err := f.s.maintain(false); err != nil {
		t.Fatal(err)
	}
	if l.segEnd.Load() == 3 {
		t.Fatal("nothing goes to segments any more")
	}
	f.mustRead(l, want)
	f.reopen()
	f.mustRead(f.s.Get(id), want)
}

func TestTruncationsTellWhyTheyAreRefused(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), nil)
	l := f.create(testID(1, 0))
	for range 4 {
		f.append(l, makeBatch(1, 100, testTime, nil))
	}
	f.settle(l)
	f.materialize(l) // 0 to 3
	for range 4 {
		f.append(l, makeBatch(1, 100, testTime, nil))
	}
	f.settle(l) // high watermark 8
	f.append(l, makeBatch(1, 100, testTime, nil))
	if err := l.Truncate(6); !errors.Is(err, ErrTruncateBelowHighWatermark) || errors.Is(err, ErrTruncateBelowSegments) {
		t.Fatal(err)
	}
	if err := l.Truncate(2); !errors.Is(err, ErrTruncateBelowHighWatermark) || !errors.Is(err, ErrTruncateBelowSegments) {
		t.Fatal(err)
	}
	if err := l.TruncateUnclean(2); !errors.Is(err, ErrTruncateBelowSegments) || l.End() != 9 || l.HighWatermark() != 8 {
		t.Fatal(err, l.End(), l.HighWatermark())
	}
	if err := l.TruncateUnclean(6); err != nil || l.End() != 6 || l.HighWatermark() != 6 || l.DurableEnd() != 6 {
		t.Fatal(err, l.End(), l.HighWatermark(), l.DurableEnd())
	}
	f.append(l, makeBatch(2, 100, testTime, nil))
	f.settle()
	want, err := readAll(l)
	if err != nil {
		t.Fatal(err)
	}
	f.reopen()
	l = f.s.Get(testID(1, 0))
	f.mustRead(l, want)
	if l.HighWatermark() > 6 || l.End() != 8 {
		t.Fatal(l.HighWatermark(), l.End())
	}
}

// A follower takes over its leader's log start without waiting for the disk, and deletes nothing before it is durable.
func TestFollowStart(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.NewMem())
	stallOn := stall(faulty)
	f := newFixture(t, faulty, nil)
	l, err := f.s.Create(testID(1, 0), 0, smallSegments())
	if err != nil {
		t.Fatal(err)
	}
	segmented(f, l, 20) // segments of 4
	f.append(l, makeBatch(5, 10, testTime, nil))
	files := f.files(l)
	release := stallOn()
	defer release()
	if err := l.FollowStart(10); err != nil || l.Start() != 10 {
		t.Fatal(err, l.Start())
	}
	if err := l.FollowStart(100); err != nil || l.Start() != 20 { // the high watermark
		t.Fatal(err, l.Start())
	}
	cleaned := make(chan error, 1)
	go func() { cleaned <- f.s.cleanPending() }()
	time.Sleep(20 * time.Millisecond)
	if n := f.files(l); n != files {
		t.Fatalf("%d of %d files left before the start is durable", n, files)
	}
	release()
	if err := <-cleaned; err != nil {
		t.Fatal(err)
	}
	if n := f.files(l); n != 0 {
		t.Fatal(n)
	}
	f.reopen()
	if l = f.s.Get(testID(1, 0)); l.Start() != 20 || l.End() != 25 {
		t.Fatal(l.Start(), l.End())
	}
}

func TestRetentionRunsOnlyAtTheLeader(t *testing.T) {
	clock := &fakeClock{now: time.UnixMilli(testTime).Add(240 * time.Hour)}
	f := newFixture(t, vfs.NewMem(), func(o *StoreOptions) { o.Now = func() time.Time { return clock.now } })
	l, err := f.s.Create(testID(1, 0), 0, smallSegments())
	if err != nil {
		t.Fatal(err)
	}
	segmented(f, l, 20)
	l.SetRetention(false)
	if err := f.s.maintain(true); err != nil || l.Start() != 0 {
		t.Fatal(err, l.Start())
	}
	l.SetRetention(true)
	if err := f.s.maintain(true); err != nil || l.Start() != 20 {
		t.Fatal(err, l.Start())
	}
}

// A leader reads what it has just appended, while it is written to the disk, for its followers.
func TestReadForPushBeforeItIsDurable(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.NewMem())
	stallOn := stall(faulty)
	f := newFixture(t, faulty, nil)
	l := f.create(testID(1, 0))
	f.settle(l)
	release := stallOn()
	defer release()
	a, b := makeBatch(1, 1000, testTime, nil), makeBatch(2, 5000, testTime, nil)
	f.append(l, a)
	if _, err := appendBatch(l, b, 3); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		from int64
		max  int
		want []byte
		next int64
		prev int32
	}{
		{0, 100_000, slices.Concat(a, b), 3, -1},
		{0, len(a), a, 1, -1},
		{0, 1, a, 1, -1}, // larger than asked for, alone
		{1, 1, b, 3, 0},
		{2, 1, b, 3, 3},
		{3, 1, nil, 3, 3},
	} {
		out, next, prev, err := l.ReadForPush([]byte("x"), tt.from, tt.max)
		if err != nil || string(out) != "x"+string(tt.want) || next != tt.next || prev != tt.prev {
			t.Fatal(tt.from, tt.max, len(out), next, prev, err)
		}
	}
	if _, _, _, err := l.ReadForPush(nil, 4, 1); !errors.Is(err, ErrOutOfRange) {
		t.Fatal(err)
	}
	if l.DurableEnd() != 0 {
		t.Fatal(l.DurableEnd())
	}
	release()
}

// Two readers follow an appender closely: what they get is what was appended, at every moment between Append and the segment. Races with
// the writing of commits, with the reuse of the ring's memory and with materialisation are what this is for.
func TestReadForPushFollowsTheAppender(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), func(o *StoreOptions) { o.WAL.MaxBytes = 4 << 20 })
	leader, follower := f.create(testID(1, 0)), f.create(testID(1, 1))
	leader.OnDurable(leader.SetHighWatermark)
	follower.OnDurable(follower.SetHighWatermark)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	const batches = 3000
	var readers sync.WaitGroup
	for r := range 2 {
		readers.Go(func() {
			buf := make([]byte, 0, 20_000)
			for from := int64(0); from < batches; {
				out, next, prev, err := leader.ReadForPush(buf, from, 10_000)
				if err != nil || next < from || next > leader.End() || from > 0 && prev != 1 {
					t.Error(from, next, prev, err)
					return
				}
				if next == from {
					time.Sleep(10 * time.Microsecond)
					continue
				}
				from = next
				for r == 0 { // the other one only reads
					last, err := follower.AppendReplicated(1, out, testTime)
					if errors.Is(err, ErrWALFull) {
						time.Sleep(time.Millisecond)
						continue
					}
					if err != nil || last != next-1 {
						t.Error(last, err)
						return
					}
					break
				}
			}
		})
	}
	for i := range batches {
		for f.s.Admit(2000) != nil {
			time.Sleep(100 * time.Microsecond)
		}
		if _, err := appendBatch(leader, makeBatch(1, 10+i%1500, testTime+int64(i), nil), 1); err != nil {
			t.Fatal(err)
		}
	}
	readers.Wait()
	cancel()
	wg.Wait()
	f.settle(leader, follower)
	a, err := readAll(leader)
	if err != nil {
		t.Fatal(err)
	}
	f.mustRead(follower, a)
	sum, n, err := leader.Checksum(0, batches)
	if err != nil || n != batches {
		t.Fatal(n, err)
	}
	if got, m, err := follower.Checksum(0, batches); err != nil || got != sum || m != n {
		t.Fatal(got, sum, m, err)
	}
}

// The checksum is the same wherever the batches are, and another when one bit, one epoch or one offset is.
func TestChecksumTellsReplicasApart(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), nil)
	same := f.create(testID(1, 0))
	other := f.create(testID(1, 1))
	shifted := f.create(testID(1, 2))
	if err := shifted.Reset(10); err != nil {
		t.Fatal(err)
	}
	later := f.create(testID(1, 3))
	for i := range int64(30) {
		f.replicate(same, 1, leaderBatch(i*2, 1, 2, 200))
		b := leaderBatch(i*2, 1, 2, 200)
		if i == 17 {
			b = makeBatch(2, 200, testTime, nil)
			recordbatch.PatchBaseOffset(b, i*2)
			recordbatch.PatchLeaderEpoch(b, 1)
		}
		f.replicate(other, 1, b)
		b = bytes.Clone(leaderBatch(i*2, 1, 2, 200))
		recordbatch.PatchBaseOffset(b, 10+i*2)
		f.replicate(shifted, 1, b)
		epoch := int32(1)
		if i > 20 {
			epoch = 2
		}
		f.replicate(later, 2, leaderBatch(i*2, epoch, 2, 200))
	}
	sum := func(l *Log, from, to int64, want int) uint32 {
		t.Helper()
		crc, n, err := l.Checksum(from, to)
		if err != nil || n != want {
			t.Fatal(n, err)
		}
		return crc
	}
	all, tail := sum(same, 0, 60, 30), sum(same, 36, 60, 12)
	f.settle(same, other)
	same.hw.Store(40)
	f.materialize(same)
	if got := sum(same, 0, 60, 30); got != all || same.segEnd.Load() != 40 {
		t.Fatal("it changes when the batches move")
	}
	if sum(same, 1, 60, 29) == all || sum(same, 0, 59, 29) == all || sum(same, 1, 4, 1) != sum(same, 2, 5, 1) {
		t.Fatal("batches that do not lie wholly in the range count")
	}
	if sum(other, 0, 60, 30) == all || sum(other, 36, 60, 12) != tail || sum(other, 0, 34, 17) != sum(same, 0, 34, 17) {
		t.Fatal("another batch")
	}
	if sum(shifted, 10, 70, 30) == all || sum(later, 0, 60, 30) == all || sum(later, 0, 42, 21) != sum(same, 0, 42, 21) {
		t.Fatal("other offsets or epochs")
	}
	if _, _, err := same.Checksum(0, 61); !errors.Is(err, ErrOutOfRange) {
		t.Fatal(err)
	}
	for _, seg := range *same.segs.Load() { // silent damage
		file, err := f.fs.OpenFile(seg.path+logSuffix, 2, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt([]byte{1, 2, 3, 4, 5}, 300); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := same.Checksum(0, 60); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
}

// Beyond the share of client appends replicated ones go on, until the room that recycling needs; then they are refused and do not wait.
func TestReplicatedAppendsLeaveRoomForRecycling(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), func(o *StoreOptions) {
		o.WAL.MaxBytes, o.WAL.ZeroStep, o.WAL.RingBytes = 16*256<<10, 256<<10, 2<<20 // large beside the batches, as they are in life
	})
	l := f.create(testID(1, 0))
	beyond := 0
	for {
		admitted := f.s.Admit(10_000) == nil
		_, err := l.AppendReplicated(0, leaderBatch(l.End(), 0, 1, 10_000), testTime)
		if errors.Is(err, ErrWALFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !admitted {
			beyond++
		}
		if u := f.s.Usage(); u.UsedBytes > u.MaxBytes-3*f.opts.WAL.SlotBytes+20_000 {
			t.Fatal("room for recycling is used", u.UsedBytes)
		}
	}
	if beyond == 0 {
		t.Fatal("replicated appends end where client appends do")
	}
	want, err := readAll(l)
	if err != nil {
		t.Fatal(err)
	}
	// Nothing is committed, so all of it can only be moved, in the room left. That packs it less well each time, but never takes the room
	// that is needed to go on once the high watermark moves.
	f.settle()
	moved := 0
	for range 200 {
		if _, err := f.s.recycleOldest(); err == nil {
			moved++
		} else if !errors.Is(err, ErrWALFull) {
			t.Fatal(err)
		}
	}
	if moved < 5 {
		t.Fatalf("only %d slots were freed", moved)
	}
	f.mustRead(l, want)
	f.settle(l)
	if err := f.s.maintain(false); err != nil {
		t.Fatal(err)
	}
	if _, err := l.AppendReplicated(0, leaderBatch(l.End(), 0, 1, 10_000), testTime); err != nil {
		t.Fatal(err)
	}
}

// High watermarks are stuck on one or many partitions, with as much above them as is admitted, while another one writes the WAL's size
// many times over. All goes on, and after power failures everything is there.
func TestStuckHighWatermarksDoNotStopTheNode(t *testing.T) {
	for _, partitions := range []int{1, 40} {
		mem := vfs.NewMem()
		if err := errors.Join(mem.MkdirAll("/data", 0o755), mem.SyncDir("/")); err != nil {
			t.Fatal(err)
		}
		f := newFixture(t, mem, func(o *StoreOptions) {
			o.WAL = wal.Options{SlotBytes: 64 << 10, MaxBytes: 16 * 64 << 10, ZeroStep: 32 << 10, RingBytes: 128 << 10, SealAfter: -1,
				OnFatal: func(err error) { panic(err) }}
			o.CarryBytes = 3000
		})
		busy := f.create(testID(9, 0))
		var stuck []*Log
		want := make([][]byte, partitions)
		for i := range partitions {
			l := f.create(testID(1, int32(i)))
			f.append(l, makeBatch(1, 50, testTime, nil))
			f.settle(l) // something is committed
			want[i], _ = readAll(l)
			stuck = append(stuck, l)
		}
		rng := rand.New(rand.NewPCG(uint64(partitions), 1))
		refused := map[int]bool{}
		var written int64
		var busyWant []byte
		for written < 6*f.s.Usage().MaxBytes {
			i := rng.IntN(partitions)
			if b := makeBatch(1+rng.IntN(3), rng.IntN(2000), testTime+written, nil); !refused[i] {
				if err := stuck[i].AdmitUncommitted(len(b)); errors.Is(err, ErrUncommitted) {
					refused[i] = true
				} else if err != nil {
					t.Fatal(err)
				} else {
					f.append(stuck[i], b)
					want[i] = append(want[i], b...)
				}
			}
			b := makeBatch(1, 4000, testTime+written, nil)
			for try := 0; f.s.Admit(len(b)) != nil; try++ {
				if try > 20 {
					t.Fatalf("no room after %d bytes: %+v, %d uncommitted", written, f.s.Usage(), f.s.UncommittedBytes())
				}
				f.settle(busy)
				if err := f.s.maintain(false); err != nil {
					t.Fatal(err)
				}
			}
			if busy.AdmitUncommitted(len(b)) != nil {
				f.settle(busy)
			}
			if err := busy.AdmitUncommitted(len(b)); err != nil {
				t.Fatal("a partition that replicates is refused for others", err)
			}
			f.append(busy, b)
			busyWant = append(busyWant, b...)
			if written += int64(len(b)); rng.IntN(20) == 0 {
				f.settle(busy)
				if err := f.s.maintain(false); err != nil {
					t.Fatal(err)
				}
			}
			if rng.IntN(300) != 0 {
				continue
			}
			f.settle(busy)
			disk := mem.Crash(rng) // power fails
			if err := f.s.Close(); err != nil {
				t.Fatal(err)
			}
			mem, f.fs, f.opts.FS, f.opts.WAL.FS = disk, disk, disk, nil
			f.open()
			busy = f.s.Get(busy.ID())
			f.mustRead(busy, busyWant)
			busy.SetHighWatermark(busy.End())
			for i := range stuck {
				stuck[i] = f.s.Get(stuck[i].ID())
				f.mustRead(stuck[i], want[i])
				if stuck[i].HighWatermark() > 1 || stuck[i].segEnd.Load() > 1 {
					t.Fatal("records above the high watermark are in segments")
				}
			}
		}
		if len(refused) != partitions {
			t.Fatalf("%d of %d partitions reached the bound", len(refused), partitions)
		}
		t.Logf("%d partitions: %d of %d bytes of the WAL uncommitted, %d written beside", partitions, f.s.UncommittedBytes(),
			f.s.Usage().MaxBytes, written)
		for i, l := range stuck { // replicas have caught up
			f.mustRead(l, want[i])
			l.SetHighWatermark(l.End())
			if err := l.AdmitUncommitted(1); err != nil {
				t.Fatal(err)
			}
		}
		f.settle(busy)
		time.Sleep(2 * countInterval)
		if n := f.s.UncommittedBytes(); n != 0 {
			t.Fatal(n)
		}
	}
}

func TestUncommittedBytesAreBounded(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), func(o *StoreOptions) { o.MaxUncommittedBytes, o.MaxNodeUncommittedBytes = 50_000, 100_000 })
	fill := func(l *Log) (n int) {
		t.Helper()
		for {
			b := makeBatch(1, 1000, testTime, nil)
			if err := l.AdmitUncommitted(len(b)); errors.Is(err, ErrUncommitted) {
				return n
			} else if err != nil {
				t.Fatal(err)
			}
			f.append(l, b)
			n += len(b)
		}
	}
	var logs []*Log
	for i := range int32(4) {
		logs = append(logs, f.create(testID(1, i)))
	}
	if err := logs[0].AdmitUncommitted(60_000); err != nil {
		t.Fatal("a batch above the bound must go through alone", err)
	}
	for i, atLeast := range []int{48_000, 48_000, 24_000, 24_000} { // the node's bound, and a quarter of it to each of four
		if n := fill(logs[i]); n < atLeast || n > atLeast+2000 {
			t.Fatal(i, n)
		}
		time.Sleep(2 * countInterval)
	}
	f.settle(logs[0]) // replicas of one have caught up
	if n := fill(logs[0]); n < 24_000 {
		t.Fatal(n)
	}
	if err := logs[1].TruncateUnclean(2); err != nil {
		t.Fatal(err)
	}
	if err := logs[2].Reset(0); err != nil {
		t.Fatal(err)
	}
	f.settle(logs...)
	time.Sleep(2 * countInterval)
	if n := f.s.UncommittedBytes(); n != 0 {
		t.Fatal(n)
	}
	for _, l := range logs {
		if l.uncommitted != 0 || l.viewBytes < 0 {
			t.Fatal(l.uncommitted, l.viewBytes)
		}
	}
}

// A State carries what it must; more only when that is all there is, so that what recycling writes stays small under a stuck high watermark.
func TestStatesCarryNoMoreThanTheyMust(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), nil)
	fill := func(l *Log, batches int) (first uint64) {
		for range batches {
			f.append(l, makeBatch(1, 1000, testTime, nil))
			if err := f.s.syncWAL(); err != nil { // each in a commit of its own
				t.Fatal(err)
			}
		}
		return l.view[0].seq
	}
	small, large := f.create(testID(1, 0)), f.create(testID(1, 1))
	if first := fill(small, 2); len(small.toCarry(first, 3500, f.s.DurableSeq())) != 2 {
		t.Fatal("a small tail is not carried whole")
	}
	if first := fill(large, 10); len(large.toCarry(first, 3500, f.s.DurableSeq())) != 1 {
		t.Fatalf("%d batches of a large tail are carried, 1 must be", len(large.toCarry(first, 3500, f.s.DurableSeq())))
	}
}
