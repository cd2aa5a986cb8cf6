package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/peer"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
)

// founders are some nodes that found a cluster over calls in memory, each on a disk that survives its crashes.
type founders struct {
	t     *testing.T
	mu    sync.Mutex
	disks map[int32]*vfs.Mem
	up    map[int32]*founder
	lists map[int32][]config.Peer
}

func threeFounders() []config.Peer {
	var list []config.Peer
	for _, id := range []int32{3, 1, 2} {
		a := func(base int32) string { return fmt.Sprintf("127.0.0.1:%d", base+id) }
		list = append(list, config.Peer{ID: id, Addresses: config.Addresses{Kafka: a(9091), WAL: a(9290), Raft: a(5000)}})
	}
	return list
}

func newFounders(t *testing.T) *founders {
	c := &founders{t: t, disks: map[int32]*vfs.Mem{}, up: map[int32]*founder{}, lists: map[int32][]config.Peer{}}
	for _, p := range threeFounders() {
		c.wipe(p.ID)
		c.lists[p.ID] = threeFounders()
	}
	return c
}

// wipe gives a node an empty disk.
func (c *founders) wipe(id int32) {
	disk := vfs.NewMem()
	if err := errors.Join(disk.MkdirAll("/data", 0o700), disk.SyncDir("/")); err != nil {
		c.t.Fatal(err)
	}
	c.disks[id] = disk
}

// start opens a node as its process would: an identity, or the way to one.
func (c *founders) start(id int32) {
	c.t.Helper()
	disk := c.disks[id]
	var f *founder
	if have, err := readIdentity(disk, "/data"); err == nil {
		g, err := completeIdentity(disk, "/data", have)
		if err != nil {
			c.t.Fatalf("node %d: %v", id, err)
		}
		f = &founder{self: id, disk: have.DiskID, genesis: g, logger: quiet()}
	} else {
		f = &founder{fs: disk, dir: "/data", self: id, peers: c.lists[id], nowMs: func() int64 { return 1 }, logger: quiet()}
		f.call = func(ctx context.Context, node int32, method peer.Method, payload []byte) ([]byte, error) {
			return c.call(ctx, id, node, method, payload)
		}
		if err := openFounder(f); err != nil {
			c.t.Fatalf("node %d: %v", id, err)
		}
	}
	c.mu.Lock()
	c.up[id] = f
	c.mu.Unlock()
}

func (c *founders) stop(id int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.up, id)
}

func (c *founders) call(ctx context.Context, from, to int32, method peer.Method, payload []byte) ([]byte, error) {
	c.mu.Lock()
	f, caller := c.up[to], c.up[from]
	c.mu.Unlock()
	if f == nil || caller == nil {
		return nil, peer.ErrUnreachable
	}
	if method == methodFoundState {
		return f.handleState(ctx, nil, payload)
	}
	return f.handlePledge(ctx, &peer.Hello{Member: caller.member()}, payload)
}

// step lets every node that is up look around some times.
func (c *founders) step(rounds int) (why []string) {
	c.t.Helper()
	for range rounds {
		why = nil
		for id := int32(1); id <= 3; id++ {
			f := c.up[id]
			if f == nil || f.genesis != nil {
				continue
			}
			w, err := f.step(context.Background())
			if err != nil {
				c.t.Fatalf("node %d: %v", id, err)
			}
			why = append(why, w)
		}
	}
	return why
}

// oneCluster checks that all have adopted the same genesis, and that it names their disks.
func (c *founders) oneCluster() *Genesis {
	c.t.Helper()
	var first *Genesis
	for id, f := range c.up {
		g := f.state().Genesis
		if g == nil {
			c.t.Fatalf("node %d has no genesis", id)
		}
		if first == nil {
			first = g
		}
		if g.Hash() != first.Hash() || !g.has(f.member()) {
			c.t.Fatalf("node %d has cluster %s, disk known %t; another has %s", id, g.ClusterID, g.has(f.member()), first.ClusterID)
		}
	}
	return first
}

func TestFoundingNeedsAll(t *testing.T) {
	c := newFounders(t)
	c.start(1)
	c.start(2)
	for _, why := range c.step(5) {
		if !strings.Contains(why, "node 3") {
			t.Errorf("waits %q", why)
		}
	}
	if c.up[1].genesis != nil || c.up[2].genesis != nil {
		t.Fatal("founded by two of three")
	}
	c.start(3)
	c.step(3)
	g := c.oneCluster()
	for id := int32(1); id <= 3; id++ {
		if err := c.up[id].identify(); err != nil {
			t.Fatal(err)
		}
		got, err := openIdentity(c.disks[id], "/data", id, "")
		if err != nil || got.ClusterID != g.ClusterID || got.DiskID != g.find(id).DiskID || got.Boot != 1 {
			t.Errorf("identity %+v, %v", got, err)
		}
		if again, err := completeIdentity(c.disks[id], "/data", got); err != nil || again.Hash() != g.Hash() {
			t.Errorf("node %d: %v", id, err)
		}
		if d, err := readDraft(c.disks[id], "/data"); d != nil || err != nil {
			t.Errorf("node %d keeps its draft: %v", id, err)
		}
	}
}

func TestOtherListsNeverFound(t *testing.T) {
	c := newFounders(t)
	other := threeFounders()
	other[0].WAL = "127.0.0.1:1"
	c.lists[2] = other
	for id := int32(1); id <= 3; id++ {
		c.start(id)
	}
	c.step(5)
	for id, f := range c.up {
		if f.genesis != nil {
			t.Errorf("node %d is in a cluster", id)
		}
	}
	if _, err := c.up[2].pledge(c.up[1].member(), c.up[1].list); err == nil {
		t.Error("a pledge under another list")
	}
	if _, err := c.up[3].pledge(c.up[2].member(), c.up[3].list); err == nil {
		t.Error("a pledge to another than the lowest")
	}
}

// A founder that comes back on an empty disk finds the cluster, is not in it, and waits: also the lowest one, with any one of the others.
func TestWipedFounderWaits(t *testing.T) {
	for wiped := int32(1); wiped <= 3; wiped++ {
		c := newFounders(t)
		for id := int32(1); id <= 3; id++ {
			c.start(id)
		}
		c.step(3)
		g := c.oneCluster()
		for id := int32(1); id <= 3; id++ {
			if err := c.up[id].identify(); err != nil {
				t.Fatal(err)
			}
			c.stop(id)
		}
		c.wipe(wiped)
		c.start(wiped)
		c.step(3)
		other := wiped%3 + 1
		c.start(other)
		why := c.step(3)
		if f := c.up[wiped]; f.genesis != nil || len(why) != 1 || !strings.Contains(why[0], "add-node") || !strings.Contains(why[0], g.ClusterID) {
			t.Errorf("wiped node %d: genesis %v, waits %q", wiped, f.genesis, why)
		}
		st, err := c.up[other].pledge(metadata.Voter{NodeID: 1, DiskID: uuid.New()}, c.up[other].list)
		if err != nil || st.Genesis == nil {
			t.Errorf("a member pledged itself again: %+v, %v", st, err)
		}
	}
}

// After every step of founding, one node or all lose power; whatever was not synced may be gone. In the end there is one cluster that names
// the disks of all.
func TestFoundingSurvivesCrashesAtEachStep(t *testing.T) {
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 4))
		c := newFounders(t)
		for id := int32(1); id <= 3; id++ {
			c.start(id)
		}
		for range 1 + rng.IntN(6) {
			id := 1 + rng.Int32N(3)
			f := c.up[id]
			switch what := rng.IntN(4); {
			case what == 0 && f.genesis != nil && f.fs != nil:
				if err := f.identify(); err != nil {
					t.Fatal(err)
				}
			case what <= 2 && f.genesis == nil:
				if _, err := f.step(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			for victim := int32(1); victim <= 3; victim++ {
				if rng.IntN(3) > 0 {
					continue
				}
				c.disks[victim] = c.disks[victim].Crash(rng)
				c.start(victim)
			}
		}
		disks := map[int32]uuid.UUID{}
		for id, f := range c.up {
			disks[id] = f.member().DiskID
		}
		c.step(4)
		g := c.oneCluster()
		for id, d := range disks {
			if g.find(id).DiskID != d {
				t.Fatalf("seed %d: node %d has changed its disk id", seed, id)
			}
		}
		for id := int32(1); id <= 3; id++ {
			if f := c.up[id]; f.fs != nil {
				if err := f.identify(); err != nil {
					t.Fatal(err)
				}
			}
			c.disks[id] = c.disks[id].Crash(rng)
			c.start(id)
		}
		if again := c.oneCluster(); again.Hash() != g.Hash() {
			t.Fatalf("seed %d: another cluster after a crash", seed)
		}
	}
}

func TestFounderRefusesWhatIsNotEmpty(t *testing.T) {
	c := newFounders(t)
	if err := errors.Join(c.disks[1].MkdirAll("/data/metadata", 0o700), vfs.WriteFileAtomic(c.disks[1], "/data/metadata/x", []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	f := &founder{fs: c.disks[1], dir: "/data", self: 1, peers: threeFounders(), logger: quiet()}
	if err := openFounder(f); !errors.Is(err, ErrIdentity) {
		t.Errorf("founding over data: %v", err)
	}
	even := &founder{fs: c.disks[2], dir: "/data", self: 1, peers: threeFounders()[:2], logger: quiet()}
	if err := openFounder(even); !errors.Is(err, ErrNotSupported) {
		t.Errorf("two founders: %v", err)
	}
	// A directory that has pledged itself does not found a cluster of its own.
	c.start(3)
	if _, err := openIdentity(c.disks[3], "/data", 3, ""); !errors.Is(err, ErrIdentity) {
		t.Errorf("identity over a draft: %v", err)
	}
}

// What a founder answers never tells more than its disk holds.
func TestAdoptIsDurableFirst(t *testing.T) {
	c := newFounders(t)
	for id := int32(1); id <= 3; id++ {
		c.start(id)
	}
	c.step(1)
	b, err := c.up[1].handleState(context.Background(), nil, nil)
	var st foundState
	if err := errors.Join(err, json.Unmarshal(b, &st)); err != nil || st.Genesis == nil {
		t.Fatalf("%+v, %v", st, err)
	}
	for range 20 {
		after := c.disks[1].Crash(rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1)))
		if g, err := readGenesis(after, "/data"); err != nil || g == nil || g.Hash() != st.Genesis.Hash() {
			t.Fatalf("told, but not durable: %v, %v", g, err)
		}
	}
}
