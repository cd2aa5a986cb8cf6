package testcluster

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Cluster is several processes that found a cluster together.
type Cluster struct {
	Nodes []*Server // node i+1 at i
}

// StartCluster writes a configuration for each of n nodes, on free ports, starts them side by side and waits until all are ready. o.Dir and
// o.Config are for all: a directory for each node below Dir, and text that precedes the [[peers]].
func StartCluster(t testing.TB, n int, o Options) *Cluster {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Binary == "" {
		o.Binary = Binary(t)
	}
	var peers strings.Builder
	c := &Cluster{}
	taken := map[string]bool{}
	free := func() string {
		for {
			if a := freeAddress(t); !taken[a] {
				taken[a] = true
				return a
			}
		}
	}
	for i := range n {
		s := &Server{t: t, Kafka: free(), WAL: free(), Raft: free(), HTTP: free(), Dir: filepath.Join(o.Dir, fmt.Sprintf("node%d", i+1))}
		fmt.Fprintf(&peers, "\n[[peers]]\nid = %d\nkafka = %q\nwal = %q\nraft = %q\n", i+1, s.Kafka, s.WAL, s.Raft)
		c.Nodes = append(c.Nodes, s)
	}
	for i, s := range c.Nodes {
		s.o = o
		s.o.Dir = s.Dir
		s.o.Config = fmt.Sprintf("node_id = %d\nreplication_factor = %d\nmin_insync_replicas = %d\n%s%s", i+1, max(o.Replicas, 1), max(o.MinISR, 1),
			o.Config, peers.String())
		t.Cleanup(func() {
			_ = s.Cont() // it may have ended
			s.Kill()
			if t.Failed() {
				t.Logf("log of node %d:\n%s", i+1, s.Log())
			}
		})
	}
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i, s := range c.Nodes {
		wg.Go(func() { errs[i] = s.TryRestart() })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("start node %d: %v", i+1, err)
		}
	}
	return c
}

// Addresses are the Kafka addresses of all nodes.
func (c *Cluster) Addresses() []string {
	var all []string
	for _, s := range c.Nodes {
		all = append(all, s.Kafka)
	}
	return all
}

// Pause stops a process where it is; Cont lets it go on.
func (s *Server) Pause() error { return s.signal(syscall.SIGSTOP) }

// Cont lets a paused process go on.
func (s *Server) Cont() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return nil
	}
	return s.cmd.Process.Signal(sig)
}
