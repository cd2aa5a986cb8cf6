package node

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/chronik-io/chronik/internal/config"
)

// said is a log that can be read while it is written.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// lines are those that have all the words.
func (s *said) lines(words ...string) (found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(s.b.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			found = append(found, line)
		}
	}
	return found
}

// startInVain starts a node that cannot come into service, until its log has a line with the words, and returns the log.
func startInVain(t *testing.T, c *config.Config, words ...string) *said {
	t.Helper()
	log := &said{}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	go func() {
		for len(log.lines(words...)) == 0 && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second) // some more attempts
		cancel()
	}()
	n, err := Start(ctx, Options{Config: c, Logger: slog.New(slog.NewTextHandler(log, nil)), Started: time.Now()})
	if err == nil {
		stopNode(t, n)
		t.Error("the node serves")
	}
	if len(log.lines(words...)) == 0 {
		t.Errorf("the log has no line with %q: %s", words, log.lines())
	}
	return log
}

// seenAs is how a node sees another one.
func seenAs(n *Node, id int32) string {
	for _, p := range n.peerStates() {
		if p.NodeID == id {
			return p.State
		}
	}
	return ""
}

// A node whose disk was put back is told so, once, and by everybody whom one asks; and its newest directory does not help any more.
func TestADiskThatWasPutBackIsNamed(t *testing.T) {
	configs := threeConfigs(t)
	nodes := startAll(t, configs...)
	defer func() {
		for _, n := range nodes[:2] {
			stopNode(t, n)
		}
	}()
	data, old, newest := configs[2].DataDir, t.TempDir()+"/old", t.TempDir()+"/newest"
	stopNode(t, nodes[2])
	if err := os.CopyFS(old, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	stopNode(t, startAll(t, configs[2])[0])
	for _, n := range nodes[:2] {
		if state := seenAs(n, 3); state == chronikapi.PeerBanned {
			t.Fatalf("node %d refuses node 3 from the beginning", n.id.NodeID)
		}
	}
	for _, move := range [][2]string{{data, newest}, {old, data}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
	log := startInVain(t, configs[2], "level=ERROR", "waits=", "never by itself", "the disk of node 3 was put back")
	for _, node := range []string{"node=1", "node=2"} {
		if n := len(log.lines("node refused", node)); n != 1 {
			t.Errorf("the log tells %d times that %s refuses it", n, node)
		}
	}
	for _, n := range nodes[:2] {
		if state := seenAs(n, 3); state != chronikapi.PeerBanned {
			t.Errorf("node %d sees node 3 as %s", n.id.NodeID, state)
		}
	}
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(newest, data); err != nil {
		t.Fatal(err)
	}
	startInVain(t, configs[2], "level=ERROR", "waits=", "never by itself", "its newest directory included")
}

// A process on a copy of a running node's directory is first taken for the node's next one. It is told, as soon as the node itself comes
// back and is not known any more.
func TestACopyOfADiskIsNamed(t *testing.T) {
	configs := threeConfigs(t)
	nodes := startAll(t, configs...)
	defer func() {
		for _, n := range nodes {
			stopNode(t, n)
		}
	}()
	twin := *configs[2]
	twin.DataDir = t.TempDir() + "/copy"
	twin.Bind.Kafka, twin.Bind.WAL, twin.Bind.Raft = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	if err := os.CopyFS(twin.DataDir, os.DirFS(configs[2].DataDir)); err != nil {
		t.Fatal(err)
	}
	startInVain(t, &twin, "level=ERROR", "waits=", "never by itself", "the disk of node 3")
	for _, n := range nodes[:2] {
		if state := seenAs(n, 3); state != chronikapi.PeerBanned {
			t.Errorf("node %d sees node 3 as %s", n.id.NodeID, state)
		}
	}
	// Node 3 runs on and would lead, which it cannot; the others find a leader among themselves, each time that both start again.
	for range 3 {
		for _, n := range nodes[:2] {
			stopNode(t, n)
		}
		copy(nodes, startAll(t, configs[0], configs[1]))
	}
}
