package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chronik-io/chronik/internal/uuid"
)

// Errors of this package.
var (
	// ErrBanned is a connection with a server that Ban has named.
	ErrBanned = errors.New("raft server is banned")
	// ErrHandshake is a connection refused because of another cluster, server or version.
	ErrHandshake = errors.New("raft handshake refused")
	// ErrStore is a failed or stuck write of the store.
	ErrStore = errors.New("raft store failed")
	// ErrCorrupt is an entry of the store that cannot be decoded.
	ErrCorrupt = errors.New("raft store corrupt")
	// ErrUnknownCommand is a committed command of a later version.
	ErrUnknownCommand = errors.New("raft command of an unknown version")
	// ErrNotVoter is a node that cannot lead, because it is no voter of the committed configuration.
	ErrNotVoter = errors.New("not a voter")
	// ErrTimeout is a request that Raft has not answered in time.
	ErrTimeout = errors.New("raft did not answer in time")
	// ErrLimit is a request beyond this package's bounds.
	ErrLimit = errors.New("raft request beyond its limit")
)

const (
	heartbeatTimeout = time.Second
	// A leader goes on for as long as its followers wait for it: nothing is protected by its stepping down earlier, and under load it was
	// seen to step down after 540 ms without anything being wrong.
	leaseTimeout = heartbeatTimeout
	applyTimeout = 5 * time.Second
	claimRetry   = 50 * time.Millisecond
	// snapshotEvery and keepEntries bound the log: it only ever holds claims and changes of members.
	snapshotEvery = 512
	keepEntries   = 128
)

// Member is a node of the cluster. Its identity is node and disk: a wiped disk is another member.
type Member struct {
	NodeID  int32
	DiskID  uuid.UUID
	Address string // host:port of its raft listener
	Voter   bool
}

// serverID is the member's identity as Raft knows it: "nodeId:diskId".
func (m Member) serverID() raft.ServerID {
	return raft.ServerID(strconv.Itoa(int(m.NodeID)) + ":" + m.DiskID.String())
}

// Claim is what a node commits when Raft has elected it.
type Claim struct {
	NodeID    int32     `json:"node"`
	DiskID    uuid.UUID `json:"disk"`
	BootNonce uint64    `json:"nonce"`
	Term      uint64    `json:"term"` // of the log entry that carried the claim; set when applied
}

// Options configures Open.
type Options struct {
	Dir       string // of Raft's files alone
	ClusterID string
	Self      Member // Address is what the others are told
	BootNonce uint64 // new at every process start
	Founders  []Member
	Listener  net.Listener // already bound; Close closes it
	// OnClaim reports a committed claim of this very process with the term of its log entry.
	OnClaim func(Claim)
	// OnFatal ends the process. The store calls it on an error or a stuck write.
	OnFatal func(error)
	Logger  *slog.Logger

	transport raft.Transport // tests: instead of the network
	bans      *bans
}

// Membership is this node's part in the election.
type Membership struct {
	o         Options
	store     *store
	transport *transport
	fsm       *fsm
	raft      *raft.Raft
	stop      context.CancelFunc
	done      sync.WaitGroup
}

// Open starts Raft. On an empty directory it founds the cluster from Options.Founders, which every founder must list alike.
// A node that is the only voter elects itself at once.
func Open(o Options) (*Membership, error) {
	o.bans = newBans()
	m := &Membership{o: o, fsm: newFSM(o)}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create raft directory: %w", err)
	}
	var err error
	if m.store, err = openStore(filepath.Join(o.Dir, "raft.db"), o.OnFatal); err != nil {
		return nil, err
	}
	if err := m.startRaft(); err != nil {
		return nil, errors.Join(err, m.store.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.done.Go(func() { m.claimWhenLeading(ctx) })
	if m.aloneInConfiguration() {
		m.transport.electSelf()
	}
	return m, nil
}

// startRaft builds the transport and starts Raft on the store.
func (m *Membership) startRaft() error {
	logger := newRaftLogger(m.o.Logger)
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(m.o.Dir, 2, logger)
	if err != nil {
		return fmt.Errorf("open raft snapshots: %w", err)
	}
	inner := m.o.transport
	if inner == nil {
		inner = newNetworkTransport(m.o, logger)
	}
	m.transport = newTransport(inner)
	config := raftConfig(m.o.Self.serverID())
	config.Logger = logger
	if err := m.found(config, snapshots); err != nil {
		return errors.Join(err, m.transport.Close())
	}
	m.raft, err = raft.NewRaft(config, m.fsm, m.store, m.store, snapshots, m.transport)
	if err != nil {
		return errors.Join(fmt.Errorf("start raft: %w", err), m.transport.Close())
	}
	m.transport.raft.Store(m.raft)
	return nil
}

func raftConfig(id raft.ServerID) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = id
	c.HeartbeatTimeout = heartbeatTimeout
	c.ElectionTimeout = heartbeatTimeout
	c.LeaderLeaseTimeout = leaseTimeout
	c.ShutdownOnRemove = false
	c.SnapshotThreshold = snapshotEvery
	c.TrailingLogs = keepEntries
	return c
}

// found writes the first configuration if the store is empty.
func (m *Membership) found(config *raft.Config, snapshots raft.SnapshotStore) error {
	has, err := raft.HasExistingState(m.store, m.store, snapshots)
	if err != nil {
		return fmt.Errorf("read raft state: %w", err)
	}
	if has || len(m.o.Founders) == 0 {
		return nil
	}
	var first raft.Configuration
	for _, f := range m.o.Founders {
		first.Servers = append(first.Servers, raft.Server{ID: f.serverID(), Address: encodeAddress(f)})
	}
	if err := raft.BootstrapCluster(config, m.store, m.store, snapshots, m.transport, first); err != nil {
		return fmt.Errorf("found raft cluster: %w", err)
	}
	return nil
}

// aloneInConfiguration says whether this node is the only voter of the newest configuration, committed or not: only a hint
// to start an election, which is always safe.
func (m *Membership) aloneInConfiguration() bool {
	f := m.raft.GetConfiguration()
	if f.Error() != nil {
		return false
	}
	voters, self := 0, false
	for _, s := range f.Configuration().Servers {
		if s.Suffrage == raft.Voter {
			voters++
			self = self || s.ID == m.o.Self.serverID()
		}
	}
	return voters == 1 && self
}

// claimWhenLeading commits a claim each time that Raft says this node leads, until it is committed or the lead is lost.
func (m *Membership) claimWhenLeading(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case leading := <-m.raft.LeaderCh():
			if !leading {
				m.o.Logger.Info("raft leadership lost")
				continue
			}
		}
		for m.raft.State() == raft.Leader {
			err := m.claim()
			if err == nil {
				m.updateAddress()
				break
			}
			m.o.Logger.Warn("raft claim not committed", "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(claimRetry):
			}
		}
	}
}

func (m *Membership) claim() error {
	command, err := encodeClaim(Claim{NodeID: m.o.Self.NodeID, DiskID: m.o.Self.DiskID, BootNonce: m.o.BootNonce})
	if err != nil {
		return err
	}
	f := m.raft.Apply(command, applyTimeout)
	if err := f.Error(); err != nil {
		return fmt.Errorf("apply claim: %w", err)
	}
	return nil
}

// updateAddress corrects this node's own address in the configuration after it was started with another one.
func (m *Membership) updateAddress() {
	for _, have := range m.Members() {
		if have.serverID() != m.o.Self.serverID() || have.Address == m.o.Self.Address || !have.Voter {
			continue
		}
		f := m.raft.AddVoter(m.o.Self.serverID(), encodeAddress(m.o.Self), 0, applyTimeout)
		if err := f.Error(); err != nil {
			m.o.Logger.Warn("raft address not updated", "from", have.Address, "to", m.o.Self.Address, "error", err)
		}
	}
}

// Members returns the members of the last committed configuration.
func (m *Membership) Members() []Member { return m.fsm.current().members }

// Claim returns the last committed claim; zero before the first.
func (m *Membership) Claim() Claim { return m.fsm.current().claim }

// Close leaves the election and releases files and ports.
func (m *Membership) Close() error {
	m.stop()
	err := m.raft.Shutdown().Error()
	m.done.Wait()
	return errors.Join(err, m.transport.Close(), m.store.Close())
}

// encodeAddress puts the member's identity behind its address, so that whoever dials knows whom to expect:
// host:port#nodeId:diskId.
func encodeAddress(m Member) raft.ServerAddress {
	return raft.ServerAddress(m.Address + "#" + string(m.serverID()))
}

// decodeAddress splits what encodeAddress joined.
func decodeAddress(a raft.ServerAddress) (hostPort, id string) {
	hostPort, id, _ = strings.Cut(string(a), "#")
	return hostPort, id
}

// parseMember reads a server of a configuration.
func parseMember(s raft.Server) (Member, error) {
	node, disk, ok := strings.Cut(string(s.ID), ":")
	n, err := strconv.ParseInt(node, 10, 32)
	if !ok || err != nil {
		return Member{}, fmt.Errorf("parse server id %q: %w", s.ID, ErrCorrupt)
	}
	d, err := uuid.Parse(disk)
	if err != nil {
		return Member{}, fmt.Errorf("parse server id %q: %w", s.ID, ErrCorrupt)
	}
	address, _ := decodeAddress(s.Address)
	return Member{NodeID: int32(n), DiskID: d, Address: address, Voter: s.Suffrage == raft.Voter}, nil
}
