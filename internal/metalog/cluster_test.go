package metalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
)

// testCluster is a few Logs in one process. Messages go through their encoding; lossy ones are dropped at random.
type testCluster struct {
	t       *testing.T
	mu      sync.Mutex // guards logs, lossy, rng
	logs    []*Log     // nil while down
	dirs    []string
	boots   []uint64
	members []Member
	lossy   bool
	cut     int32 // node that nothing reaches and that reaches nobody; 0 for none
	rng     *rand.Rand
	term    uint64
	leads   []int64 // epoch led last, by node
}

func (c *testCluster) Send(m *Message) {
	b := AppendMessage(nil, m)
	c.mu.Lock()
	drop := c.lossy && c.rng.IntN(10) == 0 || c.cut != 0 && (m.From.NodeID == c.cut || m.To.NodeID == c.cut)
	to := c.logs[m.To.NodeID-1]
	c.mu.Unlock()
	if drop || to == nil {
		return
	}
	got, err := DecodeMessage(b)
	if err != nil {
		c.t.Errorf("message of type %d: %v", m.Type, err)
		return
	}
	to.Deliver(got)
}

func newTestCluster(t *testing.T, n, founders int) *testCluster {
	c := &testCluster{t: t, rng: rand.New(rand.NewPCG(1, 2)), logs: make([]*Log, n), boots: make([]uint64, n), leads: make([]int64, n)}
	for i := range n {
		c.dirs = append(c.dirs, t.TempDir())
		c.members = append(c.members, Member{NodeID: int32(i + 1), DiskID: uuid.UUID{0: byte(i + 1)}})
	}
	for i := range n {
		c.start(i, founders)
	}
	t.Cleanup(func() {
		for i := range c.logs {
			c.stop(i)
		}
	})
	return c
}

func (c *testCluster) start(i, founders int) {
	c.boots[i]++
	l, err := Open(Options{
		Dir: c.dirs[i], Self: c.members[i], Boot: c.boots[i], SlotBytes: 256 << 10, HistoryBytes: 512 << 10, ImageBytes: 100 << 10, TailBytes: 20 << 10,
		Genesis:   Genesis{ClusterID: "three", Founders: c.members[:founders], TimestampMs: 1},
		Transport: c, TickEvery: 5 * time.Millisecond,
		OnHalt: func(err error) { c.t.Errorf("node %d: %v", i+1, err) },
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	c.logs[i] = l
	c.mu.Unlock()
	l.Start()
	l.SetMembers(c.members)
}

func (c *testCluster) stop(i int) {
	c.mu.Lock()
	l := c.logs[i]
	c.logs[i] = nil
	c.mu.Unlock()
	if l != nil {
		if err := l.Close(); err != nil {
			c.t.Errorf("close node %d: %v", i+1, err)
		}
	}
}

func (c *testCluster) lead(i int) *Log {
	c.t.Helper()
	c.term++
	c.logs[i].Claimed(c.term, c.logs[i].SelfBallot())
	waitLeader(c.t, c.logs[i])
	return c.logs[i]
}

func (c *testCluster) propose(l *Log, from, n int) {
	c.t.Helper()
	for k := from; k < from+n; k++ {
		name := fmt.Sprint(k % 50)
		_, err := l.Propose(context.Background(), func(*metadata.Image) ([]metadata.Event, error) {
			return []metadata.Event{&metadata.ConfigChanged{Resource: metadata.ResourceBroker, Name: name, Set: map[string]string{"n": fmt.Sprint(k), "pad": fmt.Sprintf("%0200d", k)}}}, nil
		})
		if err != nil {
			c.t.Fatalf("propose %d: %v", k, err)
		}
	}
}

// agree waits until all running nodes have the leader's image.
func (c *testCluster) agree(leader *Log) {
	c.t.Helper()
	want := leader.Image()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for i, l := range c.logs {
		if l == nil {
			continue
		}
		if err := l.WaitApplied(ctx, want.Offset()); err != nil {
			c.t.Fatalf("node %d does not get to offset %d: %v; %+v", i+1, want.Offset(), err, l.Status())
		}
		if l.Image().Hash() != want.Hash() {
			c.t.Fatalf("node %d: another image at offset %d", i+1, want.Offset())
		}
	}
}

func TestThreeVotersFailOver(t *testing.T) {
	c := newTestCluster(t, 3, 3)
	one := c.lead(0)
	c.propose(one, 0, 200)
	c.agree(one)
	c.mu.Lock()
	c.lossy = true
	c.mu.Unlock()
	c.propose(one, 200, 100)
	two := c.lead(1)
	if _, err := one.Propose(context.Background(), setConfig("a", "b")); !errors.Is(err, ErrNotController) && !errors.Is(err, ErrUnknownOutcome) {
		t.Fatalf("the old leader answers %v", err)
	}
	c.propose(two, 300, 100)
	c.stop(0)
	c.propose(two, 400, 100)
	c.start(0, 3)
	c.agree(two)
	three := c.lead(2)
	c.propose(three, 500, 20)
	c.agree(three)
	for _, l := range c.logs {
		if got := l.Image().Config(metadata.ResourceBroker, "19")["n"]; got != "519" {
			t.Fatalf("node has %q", got)
		}
	}
}

// A leader that was stopped while another took over does not know it when it goes on. What it says without appending anything, a refusal
// or that all is as asked, would be about the past.
func TestOldLeaderDoesNotAnswerFromThePast(t *testing.T) {
	c := newTestCluster(t, 3, 3)
	one := c.lead(0)
	c.propose(one, 0, 20)
	nothing := func(*metadata.Image) ([]metadata.Event, error) { return nil, nil }
	if _, err := one.Propose(context.Background(), nothing); err != nil {
		t.Fatalf("a leader that is followed: %v", err)
	}
	c.agree(one)
	c.mu.Lock()
	c.cut = 1
	c.mu.Unlock()
	two := c.lead(1)
	c.propose(two, 20, 5)
	told := make(chan error, 1)
	go func() {
		_, err := one.Propose(context.Background(), nothing)
		told <- err
	}()
	select {
	case err := <-told:
		t.Fatalf("the old leader answers (%v) while another one leads", err)
	case <-time.After(200 * time.Millisecond):
	}
	c.mu.Lock()
	c.cut = 0
	c.mu.Unlock()
	select {
	case err := <-told:
		if !errors.Is(err, ErrNotController) {
			t.Errorf("the old leader answers %v: nothing was done, and another node has to be asked", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the old leader never answers")
	}
	c.propose(two, 25, 5)
	c.agree(two)
}

func TestLaggingMemberGetsHistoryAndImage(t *testing.T) {
	c := newTestCluster(t, 4, 3)
	one := c.lead(0)
	c.propose(one, 0, 50)
	c.agree(one)
	c.stop(2)
	c.stop(3)
	c.propose(one, 50, 500) // beyond what is in memory
	c.start(2, 3)
	c.agree(one)
	for n := 550; one.StartOffset() <= 600; n += 500 { // until the history that the fourth lacks is gone
		if n > 30000 {
			t.Fatalf("nothing is recycled: %+v", one.Status())
		}
		c.propose(one, n, 500)
	}
	c.start(3, 3)
	c.agree(one)
	if _, _, err := c.logs[3].ReadEntries(0, 1000); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Fatalf("entries below an installed image: %v", err)
	}
	for i := range c.logs { // and all of it again from the disks
		c.stop(i)
		c.start(i, 3)
	}
	four := c.lead(3)
	c.propose(four, 0, 10)
	c.agree(four)
}

func TestVotersChangeOneByOne(t *testing.T) {
	c := newTestCluster(t, 4, 3)
	one := c.lead(0)
	ctx := context.Background()
	c.propose(one, 0, 1) // the founding is committed before it
	if _, err := one.ChangeVoters(ctx, c.members[1:]); !errors.Is(err, ErrVotersChange) {
		t.Fatalf("two at a time: %v", err)
	}
	if _, err := one.ChangeVoters(ctx, c.members[1:3]); !errors.Is(err, ErrVotersChange) {
		t.Fatalf("the controller itself: %v", err)
	}
	if _, err := one.ChangeVoters(ctx, c.members); err != nil {
		t.Fatal(err)
	}
	if _, err := one.ChangeVoters(ctx, []Member{c.members[0], c.members[1], c.members[3]}); err != nil {
		t.Fatal(err)
	}
	c.stop(2) // no voter any more
	c.stop(1)
	c.propose(one, 0, 20) // two of three: 1 and 4
	c.agree(one)
	if v := one.Image().Voters(); len(v) != 3 || v[2] != c.members[3] {
		t.Fatalf("voters in the image: %v", v)
	}
}

// TestAcknowledgedSurvivesCrash proposes on a disk in memory until the power fails, again and again.
func TestAcknowledgedSurvivesCrash(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 7))
		mem := vfs.NewMem()
		if err := mem.MkdirAll("/meta", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := mem.SyncDir("/"); err != nil {
			t.Fatal(err)
		}
		acked := -1
		for boot := uint64(1); boot <= 4; boot++ {
			o := soloOptions(mem, "/meta", boot)
			o.SlotBytes, o.ImageBytes, o.HistoryBytes = 128<<10, 8<<10, 256<<10
			o.OnHalt = func(error) {}
			l, err := Open(o)
			if err != nil {
				t.Fatalf("seed %d boot %d: %v", seed, boot, err)
			}
			l.Start()
			l.Claimed(l.Status().Ballot.Term+1, l.SelfBallot())
			waitLeader(t, l)
			if acked >= 0 {
				var n int
				_, err := fmt.Sscan(l.Image().Config(metadata.ResourceBroker, "1")["n"], &n)
				if ctx := context.Background(); err != nil || n < acked {
					if perr := l.WaitApplied(ctx, l.Commit()-1); perr != nil {
						t.Fatal(perr)
					}
					_, _ = fmt.Sscan(l.Image().Config(metadata.ResourceBroker, "1")["n"], &n)
				}
				if n < acked {
					t.Fatalf("seed %d boot %d: %d acknowledged, %d there", seed, boot, acked, n)
				}
				acked = n
			}
			stop := time.Duration(1+rng.IntN(10)) * time.Millisecond
			var next *vfs.Mem
			var crashing atomic.Bool
			done := make(chan struct{})
			go func() {
				time.Sleep(stop)
				crashing.Store(true) // what is acknowledged from here on may be missing
				next = mem.Crash(rng)
				close(done)
			}()
			for k := acked + 1; ; k++ {
				_, err := l.Propose(context.Background(), setConfig("n", fmt.Sprint(k)))
				if crashing.Load() {
					break
				}
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				acked = k
			}
			<-done
			_ = l.Close() // on a disk that nobody looks at any more
			mem = next
		}
	}
}
