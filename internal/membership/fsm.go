package membership

import (
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// commandVersion is the format of commands and snapshots. A node that meets another one stops.
const commandVersion = 1

// maxSnapshotBytes bounds a snapshot: a few members and one claim.
const maxSnapshotBytes = 1 << 20

// command is what Raft's log carries.
type command struct {
	Version int    `json:"v"`
	Claim   *Claim `json:"claim,omitempty"`
}

// state is everything Raft replicates for Chronik. Immutable.
type state struct {
	members []Member
	claim   Claim
}

// fsm applies claims and configurations. Raft's FSM goroutine is its only writer; readers load the pointer.
type fsm struct {
	o     Options
	state atomic.Pointer[state]
}

var _ raft.ConfigurationStore = (*fsm)(nil)

func newFSM(o Options) *fsm {
	f := &fsm{o: o}
	f.state.Store(&state{})
	return f
}

func (f *fsm) current() *state { return f.state.Load() }

func encodeClaim(c Claim) ([]byte, error) {
	b, err := json.Marshal(command{Version: commandVersion, Claim: &c})
	if err != nil {
		return nil, fmt.Errorf("encode claim: %w", err)
	}
	return b, nil
}

// Apply takes a committed claim. The term is the log entry's: the only one that certifies who led in it.
func (f *fsm) Apply(l *raft.Log) any {
	var c command
	err := json.Unmarshal(l.Data, &c)
	if err == nil && (c.Version != commandVersion || c.Claim == nil) {
		err = ErrUnknownCommand
	}
	if err != nil {
		err = fmt.Errorf("apply raft entry %d: %w", l.Index, err)
		f.o.OnFatal(err)
		return err
	}
	claim := *c.Claim
	claim.Term = l.Term
	f.state.Store(&state{members: f.current().members, claim: claim})
	if claim.NodeID == f.o.Self.NodeID && claim.DiskID == f.o.Self.DiskID && claim.BootNonce == f.o.BootNonce {
		f.o.OnClaim(claim)
	}
	return nil
}

// StoreConfiguration takes a committed configuration.
func (f *fsm) StoreConfiguration(index uint64, c raft.Configuration) {
	members := make([]Member, 0, len(c.Servers))
	for _, s := range c.Servers {
		m, err := parseMember(s)
		if err != nil {
			f.o.OnFatal(fmt.Errorf("apply raft configuration %d: %w", index, err))
			return
		}
		members = append(members, m)
	}
	f.state.Store(&state{members: members, claim: f.current().claim})
}

// snapshot is the state as it stands in a snapshot file.
type snapshot struct {
	Version int      `json:"v"`
	Members []Member `json:"members"`
	Claim   Claim    `json:"claim"`
}

// Snapshot returns the state to be persisted; it is immutable already.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	s := f.current()
	return &snapshot{Version: commandVersion, Members: s.members, Claim: s.claim}, nil
}

// Persist writes the snapshot.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := json.NewEncoder(sink).Encode(s); err != nil {
		_ = sink.Cancel() // the error that matters is the one above
		return fmt.Errorf("write raft snapshot: %w", err)
	}
	return sink.Close()
}

// Release has nothing to free.
func (s *snapshot) Release() {}

// Restore replaces the state by a snapshot's. Its claim is history: it is not reported.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	var s snapshot
	if err := json.NewDecoder(io.LimitReader(r, maxSnapshotBytes)).Decode(&s); err != nil {
		return fmt.Errorf("read raft snapshot: %w", err)
	}
	if s.Version != commandVersion {
		return fmt.Errorf("read raft snapshot: %w: %d", ErrUnknownCommand, s.Version)
	}
	f.state.Store(&state{members: s.Members, claim: s.Claim})
	return nil
}
