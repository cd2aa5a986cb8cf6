package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/peer"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
)

// The methods of founding. The state of founding is answered for ever: a founder that was away asks for the genesis later.
const (
	methodFoundState  = peer.MethodFound
	methodFoundPledge = peer.MethodFound + 1
)

const (
	maxFounders  = 5
	foundEvery   = 50 * time.Millisecond
	foundTimeout = 2 * time.Second // of one call
)

// foundState is what a founder says of itself.
type foundState struct {
	Member  metadata.Voter `json:"member"`
	List    string         `json:"list"`
	Genesis *Genesis       `json:"genesis,omitempty"`
}

// founder brings an empty directory into a cluster. The steps, each durable before the next one begins: the disk id is minted; it is
// pledged to the lowest id; that one writes the genesis; the others adopt it; each writes its identity. A crash between any two of them is
// taken up at the next start. The cluster exists from the moment in which the genesis is on the lowest id's disk.
//
// mu guards draft and genesis; both are written to disk first, under mu, so that an answer never tells more than what is durable.
type founder struct {
	fs     vfs.FS
	dir    string
	self   int32
	peers  []config.Peer // in the order of their ids
	list   string
	call   func(ctx context.Context, node int32, method peer.Method, payload []byte) ([]byte, error)
	nowMs  func() int64
	logger *slog.Logger

	disk uuid.UUID // of this node; set before the founder is used, never changed

	mu      sync.Mutex
	draft   *draft
	genesis *Genesis
	said    string // why it waits, as logged last
}

// openFounder reads how far a directory without an identity has come, and mints its disk id if it is empty.
func openFounder(f *founder) error {
	slices.SortFunc(f.peers, func(a, b config.Peer) int { return cmp.Compare(a.ID, b.ID) })
	f.list = listHash(f.peers)
	if n := len(f.peers); n > maxFounders || n%2 == 0 {
		return fmt.Errorf("found a cluster of %d: %w: founders are voters, and there are 1, 3 or 5 of them", n, ErrNotSupported)
	}
	var err error
	if f.genesis, err = readGenesis(f.fs, f.dir); err != nil {
		return err
	}
	if f.draft, err = readDraft(f.fs, f.dir); err != nil {
		return err
	}
	switch {
	case f.draft == nil && f.genesis != nil:
		return fmt.Errorf("%w: %s holds %s, but %s is missing: restore the file, or start on an empty directory", ErrIdentity, f.dir, genesisFile, identityFile)
	case f.draft != nil && f.draft.NodeID != f.self:
		return fmt.Errorf("%w: %s was begun by node %d, this is node %d", ErrIdentity, f.dir, f.draft.NodeID, f.self)
	case f.draft != nil:
		f.disk = f.draft.DiskID
		return nil
	}
	if err := checkEmpty(f.fs, f.dir); err != nil {
		return err
	}
	d := &draft{Version: genesisVersion, NodeID: f.self, DiskID: uuid.New()}
	if err := writeJSON(f.fs, filepath.Join(f.dir, draftFile), d); err != nil {
		return err
	}
	f.draft, f.disk = d, d.DiskID
	return nil
}

func (f *founder) member() metadata.Voter {
	return metadata.Voter{NodeID: f.self, DiskID: f.disk}
}

func (f *founder) state() foundState {
	f.mu.Lock()
	defer f.mu.Unlock()
	return foundState{Member: f.member(), List: f.list, Genesis: f.genesis}
}

func (f *founder) handleState(context.Context, *peer.Hello, []byte) ([]byte, error) {
	return json.Marshal(f.state())
}

// pledgeRequest asks for a pledge under a list of founders.
type pledgeRequest struct {
	List string `json:"list"`
}

// handlePledge promises this node's disk to the lowest founder. A later pledge to another disk of it replaces the earlier one: whatever
// that one has written down lacks a majority then, as every node adopts once.
func (f *founder) handlePledge(_ context.Context, from *peer.Hello, payload []byte) ([]byte, error) {
	var r pledgeRequest
	if err := json.Unmarshal(payload, &r); err != nil {
		return nil, fmt.Errorf("read request for a pledge: %w", err)
	}
	st, err := f.pledge(from.Member, r.List)
	if err != nil {
		return nil, err
	}
	return json.Marshal(st)
}

func (f *founder) pledge(to metadata.Voter, list string) (foundState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := foundState{Member: f.member(), List: f.list, Genesis: f.genesis}
	switch {
	case f.genesis != nil:
		return st, nil // it says so
	case list != f.list:
		return st, fmt.Errorf("pledge: node %d lists other founders than node %d", f.self, to.NodeID)
	case to.NodeID != f.peers[0].ID:
		return st, fmt.Errorf("pledge: node %d is not the lowest of the founders", to.NodeID)
	case f.draft.Pledged == to && f.draft.List == list:
		return st, nil
	}
	d := *f.draft
	d.Pledged, d.List = to, list
	if err := writeJSON(f.fs, filepath.Join(f.dir, draftFile), &d); err != nil {
		return st, err
	}
	f.draft = &d
	return st, nil
}

// adopt makes a genesis this node's own, unless it has one.
func (f *founder) adopt(g *Genesis) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.genesis != nil {
		return nil
	}
	if err := writeJSON(f.fs, filepath.Join(f.dir, genesisFile), g); err != nil {
		return err
	}
	f.genesis = g
	return nil
}

// run returns when this node has a genesis and the identity that follows from it, or ctx is done.
func (f *founder) run(ctx context.Context) error {
	for f.state().Genesis == nil {
		why, err := f.step(ctx)
		if err != nil {
			return err
		}
		if why == "" {
			continue
		}
		if why != f.said {
			f.said = why
			f.logger.Info("not in a cluster yet", "node", f.self, "disk", f.disk, "waits", why)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("found or join a cluster: %w: %s", ctx.Err(), why)
		case <-time.After(foundEvery):
		}
	}
	return f.identify()
}

// step looks at all founders once. It returns why nothing could be done, "" if something was; an error is one of the own disk.
func (f *founder) step(ctx context.Context) (why string, err error) {
	states, missing := f.ask(ctx)
	for _, st := range states {
		if st.Genesis != nil && st.Genesis.has(f.member()) && st.Genesis.check() == nil {
			f.logger.Info("cluster adopted", "cluster", st.Genesis.ClusterID, "from", st.Member.NodeID)
			return "", f.adopt(st.Genesis)
		}
	}
	for _, st := range states {
		switch {
		case st.Genesis != nil:
			return fmt.Sprintf("for add-node, which is not built yet, and never by itself: node %d is in cluster %s, which does not know this disk, %s; if this node was a member, stop it and put its old data directory back as it was when it last ran", st.Member.NodeID, st.Genesis.ClusterID, f.disk), nil
		case st.List != f.list:
			return fmt.Sprintf("for a change of the configuration: node %d lists other founders in [[peers]] than node %d; give all nodes the same [[peers]] and restart them", st.Member.NodeID, f.self), nil
		}
	}
	if len(missing) > 0 {
		return "for the other founders: " + strings.Join(missing, ", ") + "; a cluster is founded once all nodes of [[peers]] run", nil
	}
	if lowest := f.peers[0].ID; f.self != lowest {
		return fmt.Sprintf("for node %d to found the cluster", lowest), nil
	}
	return f.found(ctx, states)
}

// ask collects the states of the other founders, and who did not answer.
func (f *founder) ask(ctx context.Context) (states []foundState, missing []string) {
	answers := make([]*foundState, len(f.peers))
	reasons := make([]string, len(f.peers))
	var wg sync.WaitGroup
	for i, p := range f.peers {
		if p.ID == f.self {
			continue
		}
		wg.Go(func() {
			st, err := f.exchange(ctx, p.ID, methodFoundState, nil)
			if err == nil {
				answers[i] = st
			} else if errors.Is(err, peer.ErrUnreachable) {
				reasons[i] = fmt.Sprintf("node %d at %s is not reachable", p.ID, p.WAL)
			} else {
				reasons[i] = fmt.Sprintf("node %d at %s does not answer", p.ID, p.WAL)
			}
		})
	}
	wg.Wait()
	for i, p := range f.peers {
		if answers[i] != nil {
			states = append(states, *answers[i])
		} else if p.ID != f.self {
			missing = append(missing, reasons[i])
		}
	}
	return states, missing
}

func (f *founder) exchange(ctx context.Context, node int32, method peer.Method, payload []byte) (*foundState, error) {
	ctx, cancel := context.WithTimeout(ctx, foundTimeout)
	defer cancel()
	b, err := f.call(ctx, node, method, payload)
	if err != nil {
		return nil, err
	}
	st := &foundState{}
	if err := json.Unmarshal(b, st); err != nil {
		return nil, fmt.Errorf("read state of node %d: %w", node, err)
	}
	if st.Member.NodeID != node || st.Member.DiskID.IsZero() {
		return nil, fmt.Errorf("read state of node %d: %w: it says node %d, disk %s", node, ErrIdentity, st.Member.NodeID, st.Member.DiskID)
	}
	return st, nil
}

// found collects the pledges of all founders, this one's first, and writes the genesis.
func (f *founder) found(ctx context.Context, states []foundState) (why string, err error) {
	self := f.member()
	if _, err := f.pledge(self, f.list); err != nil {
		return "", err
	}
	request, err := json.Marshal(pledgeRequest{List: f.list})
	if err != nil {
		return "", fmt.Errorf("encode request for a pledge: %w", err)
	}
	disks := map[int32]uuid.UUID{f.self: self.DiskID}
	for _, st := range states {
		got, err := f.exchange(ctx, st.Member.NodeID, methodFoundPledge, request)
		switch {
		case err != nil:
			return fmt.Sprintf("for the pledge of node %d: %v", st.Member.NodeID, err), nil
		case got.Genesis != nil || got.Member != st.Member || got.List != f.list:
			return fmt.Sprintf("for node %d, which has changed meanwhile", st.Member.NodeID), nil
		}
		disks[st.Member.NodeID] = got.Member.DiskID
	}
	g := &Genesis{Version: genesisVersion, ClusterID: uuid.New().String(), FoundedMs: f.nowMs()}
	for _, p := range f.peers {
		g.Founders = append(g.Founders, Founder{NodeID: p.ID, DiskID: disks[p.ID], Kafka: p.Kafka, WAL: p.WAL, Raft: p.Raft})
	}
	if err := g.check(); err != nil {
		return "", err
	}
	if err := f.adopt(g); err != nil {
		return "", err
	}
	f.logger.Info("cluster founded", "cluster", g.ClusterID, "founders", len(g.Founders))
	return "", nil
}

// identify writes the identity that follows from the genesis, and forgets the draft.
func (f *founder) identify() error {
	g, m := f.state().Genesis, f.member()
	if !g.has(m) {
		return fmt.Errorf("%w: disk %s of node %d is not in %s", ErrIdentity, m.DiskID, m.NodeID, filepath.Join(f.dir, genesisFile))
	}
	id := Identity{ClusterID: g.ClusterID, NodeID: m.NodeID, DiskID: m.DiskID, Genesis: g.Hash()}
	if err := writeIdentity(f.fs, f.dir, id, true); err != nil {
		return err
	}
	return dropDraft(f.fs, f.dir)
}

// dropDraft removes the draft of a directory that has its identity.
func dropDraft(fsys vfs.FS, dir string) error {
	err := fsys.Remove(filepath.Join(dir, draftFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", draftFile, err)
	}
	return fsys.SyncDir(dir)
}
