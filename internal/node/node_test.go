package node

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/vfs"
)

func testConfig(t *testing.T) *config.Config {
	t.Helper()
	for _, key := range []string{"KAFKA", "WAL", "RAFT"} {
		t.Setenv("CHRONIK_BIND_"+key, "127.0.0.1:0")
	}
	t.Setenv("CHRONIK_HTTP", "127.0.0.1:0")
	t.Setenv("CHRONIK_DATA_DIR", filepath.Join(t.TempDir(), "data"))
	c, err := config.Load(config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func startNode(t *testing.T, o Options) *Node {
	t.Helper()
	if o.Config == nil {
		o.Config = testConfig(t)
	}
	if o.Logger == nil {
		o.Logger = quiet()
	}
	n, err := Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func stopNode(t *testing.T, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func produceOne(t *testing.T, n *Node, within time.Duration) error {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(n.ports.kafka.Addr().String()), kgo.AllowAutoTopicCreation())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { // the client does not give up a record in flight, and a node with a broken disk never answers
		done <- c.ProduceSync(context.Background(), &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr()
		c.Close()
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(within):
		return context.DeadlineExceeded
	}
}

func TestStartServeStopStartAgain(t *testing.T) {
	c := testConfig(t)
	var cluster string
	var epoch int32
	for i := range 3 {
		n := startNode(t, Options{Config: c, Started: time.Now()})
		t.Logf("start %d: ready after %d ms", i, n.readyMs)
		if err := produceOne(t, n, 20*time.Second); err != nil {
			t.Fatal(err)
		}
		if n.id.Boot != uint64(i+1) || i > 0 && n.id.ClusterID != cluster {
			t.Errorf("start %d: %+v", i, n.id)
		}
		cluster = n.id.ClusterID
		// A new incarnation never goes on in an old leader epoch.
		p := n.meta.Image().Topic("t").Partition(0)
		if i > 0 && p.LeaderEpoch <= epoch {
			t.Errorf("start %d: leader epoch %d after %d", i, p.LeaderEpoch, epoch)
		}
		epoch = p.LeaderEpoch
		if err := n.ready(); err != nil {
			t.Errorf("serving node is not ready: %v", err)
		}
		stopNode(t, n)
		if err := n.ready(); err == nil {
			t.Error("stopped node is ready")
		}
	}
}

// After a failed sync nobody knows what is on the disk: nothing may be acknowledged any more, and the process must end.
func TestFailedSyncEndsTheProcess(t *testing.T) {
	for _, dir := range []string{dirWAL, dirMetadata} {
		t.Run(dir, func(t *testing.T) {
			c := testConfig(t)
			broken := &brokenDisk{FS: vfs.OS, dir: filepath.Join(c.DataDir, dir)}
			exited := make(chan int, 16)
			n := startNode(t, Options{Config: c, disk: broken, Exit: func(code int) {
				select {
				case exited <- code:
				default:
				}
			}})
			if err := produceOne(t, n, 20*time.Second); err != nil {
				t.Fatal(err)
			}
			broken.on.Store(true)
			if dir == dirMetadata {
				go createTopic(n, "another")
			} else if err := produceOne(t, n, 2*time.Second); err == nil {
				t.Error("a record was acknowledged without a sync")
			}
			select {
			case code := <-exited:
				if code != ExitFatal {
					t.Errorf("exit code %d, want %d", code, ExitFatal)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("the process goes on")
			}
			if err := n.healthy(); err == nil {
				t.Error("a node with a broken disk says that it is healthy")
			}
			_ = n.ports.close() // what else is left belongs to a process that would be gone
		})
	}
}

func createTopic(n *Node, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, _ = n.controller.AutoCreateTopics(ctx, []string{name}) // how it fails does not matter
}

// brokenDisk fails every sync below dir once it is on.
type brokenDisk struct {
	vfs.FS
	dir string
	on  atomic.Bool
}

func (d *brokenDisk) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err != nil || !strings.HasPrefix(name, d.dir) {
		return f, err
	}
	return &brokenFile{f, d}, nil
}

type brokenFile struct {
	vfs.File
	d *brokenDisk
}

func (f *brokenFile) Sync() error {
	if f.d.on.Load() {
		return syscall.EIO
	}
	return f.File.Sync()
}

// A founder whose cluster is not there waits, and can be stopped meanwhile; two or four founders are refused.
func TestLonelyFounderWaits(t *testing.T) {
	c := testConfig(t)
	c.NodeID, c.Peers = 1, threeFounders()
	for i := range c.Peers {
		c.Peers[i].WAL = "127.0.0.1:1" // nobody
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := Start(ctx, Options{Config: c, Logger: quiet()}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("alone: %v", err)
	}
	c = testConfig(t)
	c.NodeID, c.Peers = 1, threeFounders()[:2]
	if _, err := Start(context.Background(), Options{Config: c, Logger: quiet()}); !errors.Is(err, ErrNotSupported) {
		t.Errorf("two founders: %v", err)
	}
}

// A start that fails half-way frees everything: the next one in the same process works.
func TestFailedStartFreesPortsAndLock(t *testing.T) {
	c := testConfig(t)
	n := startNode(t, Options{Config: c})
	taken := n.ports.kafka.Addr().String()
	other := *c
	other.DataDir = filepath.Join(t.TempDir(), "other")
	other.Bind.Kafka = taken
	if _, err := Start(context.Background(), Options{Config: &other, Logger: quiet()}); !errors.Is(err, ErrListen) {
		t.Fatalf("port in use: %v", err)
	}
	other.Bind.Kafka = "127.0.0.1:0"
	stopNode(t, startNode(t, Options{Config: &other}))
	stopNode(t, n)
}
