package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/group"
	"github.com/chronik-io/chronik/internal/kafkaserver"
	"github.com/chronik-io/chronik/internal/membership"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/peer"
	"github.com/chronik-io/chronik/internal/replica"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
)

// ExitFatal is the exit code of a node that stopped because its disk or its state cannot be trusted.
const ExitFatal = 3

// Options configures Start.
type Options struct {
	Config  *config.Config
	Logger  *slog.Logger
	Started time.Time // when the process began, for the time to ready
	// Exit ends the process after a fatal error; os.Exit when nil.
	Exit func(code int)

	disk vfs.FS // tests: instead of the real one
}

// Node is a running server.
type Node struct {
	o       Options
	c       *config.Config
	static  map[string]string // Kafka's settings as this node was started with them
	logger  *slog.Logger
	disk    *measuredDisk
	nonce   uint64
	id      Identity
	genesis *Genesis
	ports   listeners
	doorman *doorman
	mesh    *peer.Mesh
	hello   atomic.Pointer[peer.Hello] // who this process is to other nodes
	store   *partition.Store
	meta    *metalog.Log
	members *membership.Membership

	bansMu   sync.Mutex             // guards the two below: others are refused before the election starts
	electing *membership.Membership // nil before
	bans     []metalog.Member       // to be told to it

	// incarnation is what this process registers as: a broker that comes back is not the one that went.
	incarnation uuid.UUID
	controller  *controller.Controller
	broker      *broker
	replicas    *replica.Set
	groups      *group.Coordinator
	kafka       *kafkaserver.Server
	changed     chan struct{} // bound 1: the image or the controller has changed
	suspected   chan struct{} // bound 1: a process of another node may have ended
	doubts      doubts
	broken      atomic.Pointer[error]
	serving     atomic.Bool
	free        atomic.Pointer[uint64] // bytes, once they are known
	readyMs     int64
	mu          sync.Mutex // guards stops while the start runs steps side by side
	stops       []stop     // in start order
}

// stop undoes one step of the start.
type stop struct {
	name string
	fn   func(context.Context) error
}

// Start runs a node and returns when it serves.
func Start(ctx context.Context, o Options) (*Node, error) {
	if o.Exit == nil {
		o.Exit = os.Exit
	}
	if o.disk == nil {
		o.disk = vfs.OS
	}
	if o.Started.IsZero() {
		o.Started = time.Now()
	}
	tuneMemoryForStart()
	n := &Node{o: o, c: o.Config, static: o.Config.StaticKafka(), logger: o.Logger, disk: newMeasuredDisk(o.disk, o.Config.DataDir), changed: make(chan struct{}, 1), suspected: make(chan struct{}, 1)}
	if err := n.start(ctx); err != nil {
		within, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return nil, errors.Join(err, n.Stop(within))
	}
	return n, nil
}

// onStop registers what undoes the step just taken.
func (n *Node) onStop(name string, fn func(context.Context) error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stops = append(n.stops, stop{name, fn})
}

// start is the start order of a node.
func (n *Node) start(ctx context.Context) error {
	begin := n.o.Started
	var took []any // milliseconds by step
	for _, step := range []struct {
		name string
		fn   func(context.Context) error
	}{
		{"lock", n.openDirectory},
		{"bind", n.bind},
		{"identify", n.identify},
		{"recover", n.openLogs},
		{"build", n.build},
		{"join", n.startMetadata},
		{"serve", n.serve},
	} {
		if err := step.fn(ctx); err != nil {
			return err
		}
		took = append(took, slog.Float64(step.name, float64(time.Since(begin).Microseconds())/1000))
		begin = time.Now()
	}
	tuneMemory()
	n.readyMs = time.Since(n.o.Started).Milliseconds()
	n.serving.Store(true)
	n.logger.Info("started", slog.Group("ms", took...))
	return nil
}

// openLogs recovers the node WAL and the metadata log side by side: they have nothing to do with each other until both are
// there.
func (n *Node) openLogs(context.Context) error {
	return together(n.openStore, n.openMetadata)
}

// openDirectory creates the data directory and takes its lock.
func (n *Node) openDirectory(context.Context) error {
	lock, err := lockDirectory(n.c.DataDir)
	if err != nil {
		return err
	}
	n.onStop("lock", func(context.Context) error { return lock.Close() })
	return nil
}

// lockDirectory creates a data directory, durably, and locks it.
func lockDirectory(dir string) (*vfs.Lock, error) {
	if err := makeDirectory(vfs.OS, dir); err != nil {
		return nil, err
	}
	lock, err := vfs.LockDir(dir)
	var held *vfs.LockedError
	if errors.As(err, &held) {
		return nil, fmt.Errorf("data directory %s is in use by the process with pid %d: stop it, or choose another with --data-dir: %w", dir, held.PID, err)
	}
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	return lock, nil
}

// Format gives a directory its identity without starting a node.
func Format(c *config.Config, clusterID string) (Identity, error) {
	lock, err := lockDirectory(c.DataDir)
	if err != nil {
		return Identity{}, err
	}
	id, err := openIdentity(vfs.OS, c.DataDir, c.NodeID, clusterID)
	return id, errors.Join(err, lock.Close())
}

// bind takes the ports before anything is written.
func (n *Node) bind(context.Context) error {
	ports, err := listen(n.c)
	if err != nil {
		return err
	}
	n.ports = ports
	n.onStop("ports", func(context.Context) error { return ports.close() })
	n.doorman = newDoorman(ports.kafka, doormanAfter)
	n.onStop("doorman", n.doorman.leave)
	n.nonce, err = newNonce()
	n.mesh = n.newMesh()
	n.startHTTP()
	return err
}

// identify reads or mints who this node is. With [[peers]] an empty node waits here until it belongs to a cluster.
func (n *Node) identify(ctx context.Context) error {
	_, err := readIdentity(n.disk, n.c.DataDir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && n.c.Nodes() > 1:
		if err := n.found(ctx); err != nil {
			return err
		}
	case err == nil:
		if err := dropDraft(n.disk, n.c.DataDir); err != nil {
			return err
		}
	}
	if n.id, err = openIdentity(n.disk, n.c.DataDir, n.c.NodeID, ""); err != nil {
		return err
	}
	n.genesis, err = completeIdentity(n.disk, n.c.DataDir, n.id)
	return err
}

// newNonce draws what tells this process from every other one.
func newNonce() (uint64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("draw boot nonce: %w", err)
	}
	return binary.LittleEndian.Uint64(b[:]) | 1, nil // never zero, which means none
}

// self is this node as a member of the metadata log.
func (n *Node) self() metadata.Voter {
	return metadata.Voter{NodeID: n.id.NodeID, DiskID: n.id.DiskID}
}

// fatal ends the process: what is on the disk, or in memory, cannot be trusted. Nothing is written, nothing is closed.
func (n *Node) fatal(err error) {
	n.broken.Store(&err)
	n.serving.Store(false)
	n.logger.Error("fatal: stopping at once", "error", err)
	n.o.Exit(ExitFatal)
}

// healthy is nil unless the node has met a fatal error.
func (n *Node) healthy() error {
	if err := n.broken.Load(); err != nil {
		return *err
	}
	return nil
}

var errNotServing = errors.New("not serving")

// ready is nil when the node serves.
func (n *Node) ready() error {
	if err := n.healthy(); err != nil {
		return err
	}
	if !n.serving.Load() {
		return errNotServing
	}
	return nil
}

// ReadyAttrs describes the serving node: addresses, identity, and milliseconds since the start.
func (n *Node) ReadyAttrs() []any {
	http := config.HTTPOff
	if n.ports.http != nil {
		http = n.ports.http.Addr().String()
	}
	return []any{
		"kafka", n.ports.kafka.Addr().String(), "wal", n.ports.wal.Addr().String(), "raft", n.ports.raft.Addr().String(), "http", http,
		"node", n.id.NodeID, "cluster", n.id.ClusterID, "data", n.c.DataDir, "pid", os.Getpid(), "ms", n.readyMs,
	}
}

// Stop ends the node gracefully, in the opposite order of its start.
func (n *Node) Stop(ctx context.Context) error {
	n.serving.Store(false)
	var errs []error
	for i := len(n.stops) - 1; i >= 0; i-- {
		s := n.stops[i]
		done := make(chan error, 1)
		go func() { done <- s.fn(ctx) }()
		select {
		case err := <-done:
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
			}
		case <-ctx.Done():
			return errors.Join(append(errs, fmt.Errorf("%s: %w", s.name, ErrStopTimeout))...)
		}
	}
	n.stops = nil
	return errors.Join(errs...)
}

// together runs steps of the start side by side and returns all of their errors.
func together(steps ...func() error) error {
	errs := make([]error, len(steps))
	var wg sync.WaitGroup
	for i, step := range steps {
		wg.Go(func() { errs[i] = step() })
	}
	wg.Wait()
	return errors.Join(errs...)
}
