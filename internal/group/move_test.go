package group

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// pair is two coordinators, as on two nodes, over the log of one partition that only one of them leads at a time.
type pair struct {
	t     *testing.T
	log   *memLog
	nodes [2]*Coordinator
	stops [2]context.CancelFunc
	at    int
	epoch int32
}

func newPair(t *testing.T, cfg Config) *pair {
	p := &pair{t: t, log: newMemLog(time.Millisecond), at: 1}
	for i := range p.nodes {
		p.nodes[i], p.stops[i] = serve(t, cfg, p.log, 0)
		p.nodes[i].SetPartitions(1)
	}
	p.move()
	return p
}

// move makes the other node the leader. The one before hears of it later.
func (p *pair) move() (before *Coordinator) {
	before = p.nodes[p.at]
	p.at, p.epoch = 1-p.at, p.epoch+1
	p.log.lead(0, p.epoch)
	p.nodes[p.at].Elected(0, p.epoch)
	return before
}

func (p *pair) now() *Coordinator { return p.nodes[p.at] }

func (p *pair) stop() {
	for _, stop := range p.stops {
		stop()
	}
}

// aMember joins a group alone and has its assignment.
func (p *pair) aMember(j JoinRequest) (id string, generation int32) {
	p.t.Helper()
	ctx := p.t.Context()
	res, err := p.now().Join(ctx, j)
	if errors.Is(err, ErrMemberIDRequired) {
		j.MemberID = res.MemberID
		res, err = p.now().Join(ctx, j)
	}
	if err != nil {
		p.t.Fatalf("join: %v", err)
	}
	s, err := p.now().Sync(ctx, SyncRequest{Group: j.Group, MemberID: res.MemberID, InstanceID: j.InstanceID, Generation: res.Generation,
		Assignments: []Assignment{{res.MemberID, []byte("all")}}})
	if err != nil || string(s.Assignment) != "all" {
		p.t.Fatalf("sync: %v, %q", err, s.Assignment)
	}
	return res.MemberID, res.Generation
}

// Members that go on with their heartbeats notice nothing of a coordinator that moves, again and again, and what was committed before is
// there. One that is silent is missed at the new coordinator as at the old one, with its whole session before it.
func TestMovesWithoutRebalance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, Config{})
		defer p.stop()
		ctx := t.Context()
		id, generation := p.aMember(*aJoin("g", ""))
		staticID, staticGeneration := p.aMember(*static(aJoin("s", ""), "instance"))
		for n := range int64(6) {
			commit := func(c *Coordinator, offset int64) error {
				res, err := c.Commit(ctx, CommitRequest{Group: "g", MemberID: id, Generation: generation, Retention: -1,
					Offsets: []CommitOffset{{Topic: "t", Offset: offset, LeaderEpoch: int32(n)}}})
				return errors.Join(append(res, err)...)
			}
			if err := commit(p.now(), n); err != nil {
				t.Fatalf("move %d: commit: %v", n, err)
			}
			before := p.move()
			if n%2 == 0 {
				before.Resigned(0)
				wantErr(t, "heartbeat at the one before", before.Heartbeat(ctx, HeartbeatRequest{Group: "g", MemberID: id, Generation: generation}), ErrNotCoordinator)
			}
			if err := commit(before, 1000); err == nil {
				t.Errorf("move %d: the one before takes a commit", n)
			}
			before.Resigned(0)
			for range 3 {
				time.Sleep(4 * time.Second)
				wantErr(t, "heartbeat", p.now().Heartbeat(ctx, HeartbeatRequest{Group: "g", MemberID: id, Generation: generation}), nil)
				wantErr(t, "static member's", p.now().Heartbeat(ctx, HeartbeatRequest{Group: "s", MemberID: staticID, InstanceID: "instance", Generation: staticGeneration}), nil)
			}
			got, err := p.now().FetchOffsets(ctx, "g", nil)
			if err != nil || len(got) != 1 || got[0].Partitions[0] != (PartitionOffset{Offset: n, LeaderEpoch: int32(n)}) {
				t.Fatalf("move %d: offsets %v, %v", n, got, err)
			}
		}
		wantErr(t, "another static member's", p.now().Heartbeat(ctx, HeartbeatRequest{Group: "s", MemberID: "old", InstanceID: "instance", Generation: staticGeneration}), ErrFencedInstance)
		time.Sleep(8 * time.Second)
		p.move().Resigned(0)
		time.Sleep(9 * time.Second) // 17 s of silence, of which 9 count
		wantErr(t, "heartbeat", p.now().Heartbeat(ctx, HeartbeatRequest{Group: "g", MemberID: id, Generation: generation}), nil)
		time.Sleep(11 * time.Second)
		wantErr(t, "heartbeat after the session", p.now().Heartbeat(ctx, HeartbeatRequest{Group: "g", MemberID: id, Generation: generation}), ErrUnknownMember)
	})
}

// A static member that comes back at the next coordinator takes its place in the same generation.
func TestStaticMemberReturnsAfterMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, Config{})
		defer p.stop()
		old, generation := p.aMember(*static(aJoin("g", ""), "instance"))
		p.move().Resigned(0)
		res, err := p.now().Join(t.Context(), *static(aJoin("g", ""), "instance"))
		if err != nil || res.Generation != generation || res.MemberID == old {
			t.Fatalf("returned to generation %d of %d as %q: %v", res.Generation, generation, res.MemberID, err)
		}
		p.move().Resigned(0)
		beat := func(id string) error {
			return p.now().Heartbeat(t.Context(), HeartbeatRequest{Group: "g", MemberID: id, InstanceID: "instance", Generation: generation})
		}
		if err := p.now().Await(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "under the new id", beat(res.MemberID), nil)
		wantErr(t, "under the old id", beat(old), ErrFencedInstance)
	})
}

// Partitions that wait for their followers keep no other one from being loaded, and are loaded as soon as the followers are there, however
// long that took.
func TestWaitingForFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemLog(0)
		const stuck = 2 * maxLoads
		c, stop := serve(t, Config{}, l, stuck+1)
		for n := range 200 {
			if err := commitOne(c, fmt.Sprint("g", n), "t", 0, int64(n)); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		l.short = map[int32]chan struct{}{}
		for n := range int32(stuck) {
			l.short[n] = make(chan struct{})
		}
		c, stop = serve(t, Config{}, l, stuck+1)
		defer stop()
		free := 0
		for n := range 200 {
			if g := fmt.Sprint("g", n); c.PartitionOf(g) == stuck {
				free++
				if o := fetchOne(t, c, g, "t", 0); o != int64(n) {
					t.Errorf("%s at %d", g, o)
				}
			}
		}
		if free == 0 {
			t.Fatal("no group in the partition that is free")
		}
		time.Sleep(time.Hour)
		for n := range int32(stuck) {
			if err := c.Await(t.Context(), n); !errors.Is(err, ErrLoading) {
				t.Errorf("partition %d: %v", n, err)
			}
			close(l.short[n])
		}
		for n := range 200 {
			if o := fetchOne(t, c, fmt.Sprint("g", n), "t", 0); o != int64(n) {
				t.Errorf("g%d at %d", n, o)
			}
		}
	})
}

// What fails because another node leads is told as that, also to those that waited for something else.
func TestLostLeadershipIsNotCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemLog(time.Second)
		c, stop := serve(t, Config{InitialRebalanceDelay: time.Hour}, l, 1)
		defer stop()
		if err := c.Await(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		joined := make(chan error, 1)
		go func() {
			_, err := c.Join(t.Context(), *oldJoin("h", ""))
			joined <- err
		}()
		synctest.Wait()
		l.mu.Lock()
		l.fail = fmt.Errorf("%w: another node leads", ErrNotCoordinator)
		l.mu.Unlock()
		wantErr(t, "commit", commitOne(c, "g", "t", 0, 1), ErrNotCoordinator)
		wantErr(t, "join", <-joined, ErrNotCoordinator)
	})
}

// The check for offsets that are too old ends at partitions that are not led here, or are not loaded: it went round and round for as long as
// they stayed so.
func TestRetentionCheckWithoutMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemLog(0)
		l.short = map[int32]chan struct{}{1: make(chan struct{})}
		c, stop := serve(t, Config{RetentionCheck: time.Minute}, l, 2)
		defer stop()
		if err := c.Await(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		c.Resigned(0)
		time.Sleep(5 * time.Minute) // would never be over
		close(l.short[1])
		if err := c.Await(t.Context(), 1); err != nil {
			t.Error(err)
		}
	})
}
