package group

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronik-io/chronik/internal/recordbatch"
)

// memLog is a Log in memory. Appends become durable after delay, in order.
type memLog struct {
	mu      sync.Mutex
	parts   map[int32]*memPartition
	delay   time.Duration
	refuse  error // of Append
	fail    error // given to done
	failing error // of Read
	slow    time.Duration
	short   map[int32]chan struct{} // partitions whose high watermark moves when it is closed
}

type memPartition struct {
	epoch      int32
	start, end int64
	batches    []memBatch

	ordering sync.Mutex // keeps completions in append order
	queue    []func()
}

// complete finishes the oldest append.
func (p *memPartition) complete(l *memLog) {
	p.ordering.Lock()
	defer p.ordering.Unlock()
	l.mu.Lock()
	done := p.queue[0]
	p.queue = p.queue[1:]
	l.mu.Unlock()
	done()
}

type memBatch struct {
	first, last int64
	bytes       []byte
}

func newMemLog(delay time.Duration) *memLog {
	return &memLog{parts: map[int32]*memPartition{}, delay: delay}
}

func (l *memLog) part(partition, epoch int32) (*memPartition, error) {
	p := l.parts[partition]
	if p == nil || p.epoch != epoch {
		return nil, errors.New("not leader")
	}
	return p, nil
}

// lead makes this node leader of a partition.
func (l *memLog) lead(partition, epoch int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.parts[partition] == nil {
		l.parts[partition] = &memPartition{}
	}
	l.parts[partition].epoch = epoch
}

func (l *memLog) Append(partition, epoch int32, batch []byte, done func(error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, err := l.part(partition, epoch)
	if err != nil || l.refuse != nil {
		return errors.Join(err, l.refuse)
	}
	info, err := recordbatch.Validate(batch, recordbatch.Limits{Internal: true})
	if err != nil {
		return err
	}
	b := memBatch{first: p.end, last: p.end + int64(info.Count) - 1, bytes: append([]byte{}, batch...)}
	recordbatch.PatchBaseOffset(b.bytes, b.first)
	p.batches = append(p.batches, b)
	p.end = b.last + 1
	fail := l.fail
	if l.delay == 0 {
		done(fail) // from inside Append: allowed
		return nil
	}
	p.queue = append(p.queue, func() { done(fail) })
	time.AfterFunc(l.delay, func() { p.complete(l) })
	return nil
}

func (l *memLog) Bounds(partition, epoch int32) (start, end int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, err := l.part(partition, epoch)
	if err != nil {
		return 0, 0, err
	}
	return p.start, p.end, nil
}

func (l *memLog) AwaitHighWatermark(ctx context.Context, partition, epoch int32, offset int64) error {
	if !sleep(ctx, l.slow) {
		return ctx.Err()
	}
	if l.short[partition] == nil {
		return nil
	}
	select {
	case <-l.short[partition]:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *memLog) Read(partition, epoch int32, dst []byte, from int64, maxBytes int) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, err := l.part(partition, epoch)
	if err != nil || l.failing != nil {
		return dst, errors.Join(err, l.failing)
	}
	n := 0
	for _, b := range p.batches {
		if b.last < from || b.last < p.start {
			continue
		}
		if n > 0 && n+len(b.bytes) > min(maxBytes, 4000) { // small reads, so that there are many
			break
		}
		dst, n = append(dst, b.bytes...), n+len(b.bytes)
	}
	return dst, nil
}

func (l *memLog) AdvanceStart(partition, epoch int32, offset int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, err := l.part(partition, epoch)
	if err != nil {
		return err
	}
	p.start = max(p.start, offset)
	for len(p.batches) > 0 && p.batches[0].last < p.start {
		p.batches = p.batches[1:]
	}
	return nil
}

// count is the number of records that are left in a partition.
func (l *memLog) bounds(partition int32) (start, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.parts[partition].start, l.parts[partition].end
}

// serve runs a coordinator that leads all of n partitions.
func serve(t *testing.T, cfg Config, l *memLog, n int32) (*Coordinator, context.CancelFunc) {
	t.Helper()
	if cfg.MinSessionTimeout == 0 {
		cfg.MinSessionTimeout = time.Second
	}
	c := New(cfg, l)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	for p := range n {
		l.mu.Lock()
		epoch := int32(0)
		if old := l.parts[p]; old != nil {
			epoch = old.epoch + 1
		}
		l.mu.Unlock()
		l.lead(p, epoch)
		c.Elected(p, epoch)
	}
	c.SetPartitions(n)
	return c, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

func commitOne(c *Coordinator, group, topic string, partition int32, offset int64) error {
	res, err := c.Commit(context.Background(), CommitRequest{Group: group, Generation: -1, Retention: -1,
		Offsets: []CommitOffset{{Topic: topic, Partition: partition, Offset: offset, LeaderEpoch: -1}}})
	if err != nil {
		return err
	}
	return res[0]
}

func fetchOne(t *testing.T, c *Coordinator, group, topic string, partition int32) int64 {
	t.Helper()
	got, err := c.FetchOffsets(context.Background(), group, []TopicPartitions{{topic, []int32{partition}}})
	if err != nil {
		t.Fatalf("fetch of %s: %v", group, err)
	}
	return got[0].Partitions[0].Offset
}

// Kafka's partition of a group, by String.hashCode; the values are those of Java.
func TestPartitionOf(t *testing.T) {
	c := New(Config{}, newMemLog(0))
	if p := c.PartitionOf("g"); p != -1 {
		t.Fatalf("partition %d before the topic is known", p)
	}
	c.SetPartitions(50)
	for group, hash := range map[string]int32{"": 0, "a": 97, "my-group": -1906497762, "polygenelubricants": -1 << 31, "é": 233, "😀": 1772899} {
		if p, want := c.PartitionOf(group), (hash&0x7fffffff)%50; p != want {
			t.Errorf("%q in partition %d, want %d", group, p, want)
		}
	}
}

func TestEndToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemLog(time.Millisecond)
		c, stop := serve(t, Config{InitialRebalanceDelay: 3 * time.Second}, l, 5)
		var wg sync.WaitGroup
		began := time.Now()
		const members = 4
		for range members {
			wg.Go(func() {
				ctx := t.Context()
				j := *aJoin("g", "")
				res, err := c.Join(ctx, j)
				if !errors.Is(err, ErrMemberIDRequired) {
					t.Errorf("first join: %v", err)
				}
				j.MemberID = res.MemberID
				if res, err = c.Join(ctx, j); err != nil {
					t.Errorf("join: %v", err)
					return
				}
				var list []Assignment
				for _, m := range res.Members {
					list = append(list, Assignment{m.MemberID, []byte(m.MemberID)})
				}
				s, err := c.Sync(ctx, SyncRequest{Group: "g", MemberID: res.MemberID, Generation: res.Generation, Assignments: list})
				if err != nil || string(s.Assignment) != res.MemberID {
					t.Errorf("sync: %v, %q", err, s.Assignment)
				}
				for range 5 {
					time.Sleep(3 * time.Second)
					if err := c.Heartbeat(ctx, HeartbeatRequest{Group: "g", MemberID: res.MemberID, Generation: res.Generation}); err != nil {
						t.Errorf("heartbeat: %v", err)
					}
				}
			})
		}
		wg.Wait()
		if d := time.Since(began); d > 22*time.Second {
			t.Errorf("took %v", d)
		}
		list, err := c.List()
		if err != nil || len(list) != 1 || list[0].State != Stable {
			t.Errorf("list: %v %v", list, err)
		}
		time.Sleep(11 * time.Second) // nobody sends heartbeats any more
		if list, _ = c.List(); list[0].State != Empty && list[0].State != PreparingRebalance {
			t.Errorf("list: %v", list)
		}
		stop()
	})
}

func TestRestartKeepsWhatWasAcked(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			l := newMemLog(delay)
			for round := range int64(3) {
				c, stop := serve(t, Config{}, l, 3)
				for g := range 20 {
					if round > 0 {
						if o := fetchOne(t, c, fmt.Sprint("g", g), "t", 0); o != round-1 {
							t.Errorf("round %d: group %d at %d", round, g, o)
						}
					}
					if err := commitOne(c, fmt.Sprint("g", g), "t", 0, round); err != nil {
						t.Error(err)
					}
				}
				stop()
			}
		})
	}
}

// While a partition is loading nobody is told "no offset"; heartbeats are fine, and a SyncGroup has to start over.
func TestLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemLog(0)
		c, stop := serve(t, Config{}, l, 1)
		if err := commitOne(c, "g", "t", 0, 7); err != nil {
			t.Fatal(err)
		}
		stop()
		l.slow = 1500 * time.Millisecond // longer than a request waits
		c, stop = serve(t, Config{}, l, 1)
		defer stop()
		ctx := t.Context()
		wantErr(t, "heartbeat", c.Heartbeat(ctx, HeartbeatRequest{Group: "g", MemberID: "m", Generation: 1}), nil)
		_, err := c.Sync(ctx, SyncRequest{Group: "g", MemberID: "m", Generation: 1})
		wantErr(t, "sync", err, ErrRebalanceInProgress)
		_, err = c.FetchOffsets(ctx, "g", nil)
		wantErr(t, "fetch", err, ErrLoading)
		_, err = c.List()
		wantErr(t, "list", err, ErrLoading)
		if o := fetchOne(t, c, "g", "t", 0); o != 7 { // this one waits long enough
			t.Errorf("committed %d", o)
		}
		if err := c.Await(ctx, 0); err != nil {
			t.Error(err)
		}
		wantErr(t, "await of another partition", c.Await(ctx, 1), ErrNotCoordinator)
	})
}

func TestResignedAnswersAllThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemLog(time.Hour) // nothing becomes durable
		c, stop := serve(t, Config{CommitTimeout: 2 * time.Hour, InitialRebalanceDelay: time.Hour}, l, 1)
		defer stop()
		ctx := t.Context()
		errs := make(chan error, 2)
		go func() {
			_, err := c.Join(ctx, *oldJoin("g", ""))
			errs <- err
		}()
		go func() {
			_, _ = c.Commit(ctx, CommitRequest{Group: "h", Generation: -1, Offsets: []CommitOffset{{Topic: "t"}}})
			_, err := c.FetchOffsets(ctx, "h", nil)
			errs <- err
		}()
		time.Sleep(time.Second)
		c.Resigned(0)
		wantErr(t, "join", <-errs, ErrNotCoordinator)
		wantErr(t, "after that", commitOne(c, "g", "t", 0, 1), ErrNotCoordinator)
		l.lead(0, 1)
		c.Elected(0, 1)
		wantErr(t, "fetch", <-errs, nil) // the commit's outcome came with the log's; the fetch found the new term
	})
}

// An append that fails after it was accepted makes the coordinator read its partition again.
func TestFailedAppendReloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemLog(time.Millisecond)
		c, stop := serve(t, Config{}, l, 1)
		defer stop()
		if err := commitOne(c, "g", "t", 0, 1); err != nil {
			t.Fatal(err)
		}
		l.fail = errors.New("high watermark not reached")
		wantErr(t, "commit", commitOne(c, "g", "t", 0, 2), ErrNotAvailable)
		l.fail = nil
		if o := fetchOne(t, c, "g", "t", 0); o != 2 { // it is in the log after all
			t.Errorf("committed %d", o)
		}
	})
}

func TestFailedLoadIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemLog(0)
		c, stop := serve(t, Config{}, l, 1)
		_ = commitOne(c, "g", "t", 0, 3)
		stop()
		l.failing = errors.New("disk")
		c, stop = serve(t, Config{LoadWait: 10 * time.Millisecond}, l, 1)
		defer stop()
		_, err := c.FetchOffsets(t.Context(), "g", nil)
		wantErr(t, "fetch", err, ErrLoading)
		time.Sleep(time.Second)
		l.mu.Lock()
		l.failing = nil
		l.mu.Unlock()
		time.Sleep(2 * time.Second)
		if o := fetchOne(t, c, "g", "t", 0); o != 3 {
			t.Errorf("committed %d", o)
		}
	})
}

// The log stays bounded, and what it is cleaned to loads to the same state.
func TestCleaner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemLog(time.Millisecond)
		c, stop := serve(t, Config{CleanRecords: 500, CleanBytes: 1 << 20}, l, 1)
		const groups = 50
		last := map[string]int64{}
		for i := range int64(5000) {
			g := fmt.Sprint("g", i%groups)
			if err := commitOne(c, g, "t", int32(i%3), i); err != nil {
				t.Fatal(err)
			}
			last[fmt.Sprint(g, "/", i%3)] = i
		}
		if err := c.DeleteGroup(t.Context(), "g7"); err != nil {
			t.Error(err)
		}
		start, end := l.bounds(0)
		if end-start > 3*3*groups+500+200 {
			t.Errorf("%d records for %d offsets", end-start, len(last))
		}
		stop()
		c, stop = serve(t, Config{}, l, 1)
		defer stop()
		for key, want := range last {
			var g, p int
			_, _ = fmt.Sscanf(key, "g%d/%d", &g, &p)
			if g == 7 {
				want = -1
			}
			if o := fetchOne(t, c, fmt.Sprint("g", g), "t", int32(p)); o != want {
				t.Errorf("%s at %d, want %d", key, o, want)
			}
		}
	})
}

func TestCleanerKeepsMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemLog(time.Millisecond)
		c, stop := serve(t, Config{CleanRecords: 100}, l, 1)
		ctx := t.Context()
		res, err := c.Join(ctx, *oldJoin("g", ""))
		wantErr(t, "join", err, nil)
		_, err = c.Sync(ctx, SyncRequest{Group: "g", MemberID: res.MemberID, Generation: 1,
			Assignments: []Assignment{{res.MemberID, []byte("a")}}})
		wantErr(t, "sync", err, nil)
		for i := range int64(1000) {
			_, err := c.Commit(ctx, CommitRequest{Group: "g", MemberID: res.MemberID, Generation: 1, Retention: -1,
				Offsets: []CommitOffset{{Topic: "t", Offset: i}}})
			wantErr(t, "commit", err, nil)
		}
		if start, _ := l.bounds(0); start < 800 {
			t.Errorf("log start %d", start)
		}
		stop()
		c, stop = serve(t, Config{}, l, 1)
		defer stop()
		s, err := c.Sync(ctx, SyncRequest{Group: "g", MemberID: res.MemberID, Generation: 1})
		if errors.Is(err, ErrRebalanceInProgress) { // while it was loading
			_ = c.Await(ctx, 0)
			s, err = c.Sync(ctx, SyncRequest{Group: "g", MemberID: res.MemberID, Generation: 1})
		}
		if err != nil || string(s.Assignment) != "a" {
			t.Errorf("sync: %v, %q", err, s.Assignment)
		}
		if o := fetchOne(t, c, "g", "t", 0); o != 999 {
			t.Errorf("committed %d", o)
		}
	})
}

func TestRefusedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := serve(t, Config{MaxSessionTimeout: time.Minute}, newMemLog(0), 1)
		defer stop()
		ctx := t.Context()
		long, short, none := *aJoin("g", ""), *aJoin("g", ""), *aJoin("", "")
		long.SessionTimeout, short.SessionTimeout = time.Hour, time.Millisecond
		big := *aJoin("g", "")
		big.Protocols[0].Metadata = make([]byte, 5<<20)
		for _, j := range []struct {
			req  JoinRequest
			want error
		}{{long, ErrInvalidSessionTimeout}, {short, ErrInvalidSessionTimeout}, {none, ErrInvalidGroupID}, {big, ErrRecordTooLarge}} {
			_, err := c.Join(ctx, j.req)
			wantErr(t, "join", err, j.want)
		}
		_, err := c.Sync(ctx, SyncRequest{})
		wantErr(t, "sync", err, ErrInvalidGroupID)
		wantErr(t, "heartbeat", c.Heartbeat(ctx, HeartbeatRequest{}), ErrInvalidGroupID)
		_, err = c.Leave(ctx, "", nil)
		wantErr(t, "leave", err, ErrInvalidGroupID)
		_, err = c.DeleteOffsets(ctx, "", nil)
		wantErr(t, "delete offsets", err, ErrInvalidGroupID)
		_, err = c.FetchOffsets(ctx, string(make([]byte, 40000)), nil)
		wantErr(t, "a name that cannot be stored", err, ErrInvalidGroupID)
	})
}

func TestJoinEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := serve(t, Config{InitialRebalanceDelay: time.Hour}, newMemLog(0), 1)
		defer stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Join(ctx, *oldJoin("g", ""))
		wantErr(t, "join", err, context.DeadlineExceeded)
		d, err := c.Describe(t.Context(), "g")
		if err != nil || len(d.Members) != 0 { // nobody will ever ask as that member
			t.Errorf("%+v, %v", d, err)
		}
	})
}

func TestStopAnswersAllThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := serve(t, Config{InitialRebalanceDelay: time.Hour}, newMemLog(0), 1)
		errs := make(chan error, 1)
		go func() {
			_, err := c.Join(t.Context(), *oldJoin("g", ""))
			errs <- err
		}()
		time.Sleep(time.Second)
		stop()
		wantErr(t, "join", <-errs, ErrStopped)
	})
}

// The group topic itself may be deleted by an administrator: nothing of the old one may stay in memory.
func TestGroupTopicDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemLog(0)
		c, stop := serve(t, Config{}, l, 1)
		defer stop()
		wantErr(t, "commit", commitOne(c, "g", "t", 0, 1), nil)
		c.TopicsDeleted([]string{TopicName})
		wantErr(t, "commit", commitOne(c, "g", "t", 0, 1), ErrNotCoordinator)
		l.mu.Lock()
		l.parts = map[int32]*memPartition{}
		l.mu.Unlock()
		l.lead(0, 0) // created again, with epochs that begin anew
		c.SetPartitions(1)
		c.Elected(0, 0)
		if o := fetchOne(t, c, "g", "t", 0); o != -1 {
			t.Errorf("committed %d", o)
		}
	})
}

func TestOffsetsOfDeletedTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := serve(t, Config{}, newMemLog(time.Millisecond), 3)
		defer stop()
		for i := range 10 {
			wantErr(t, "commit", commitOne(c, fmt.Sprint("g", i), "t", 0, 1), nil)
		}
		c.TopicsDeleted([]string{"t"})
		time.Sleep(time.Second)
		for i := range 10 {
			if o := fetchOne(t, c, fmt.Sprint("g", i), "t", 0); o != -1 {
				t.Errorf("committed %d", o)
			}
		}
	})
}
