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
	Net   *Network  // between the nodes; nil unless Options.Proxied
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
	advertise := make([]string, n)
	for i := range n {
		s := &Server{t: t, Kafka: free(), WAL: free(), Raft: free(), HTTP: free(), Dir: filepath.Join(o.Dir, fmt.Sprintf("node%d", i+1))}
		wal, raft := s.WAL, s.Raft
		if o.Proxied {
			wal, raft = free(), free()
			advertise[i] = fmt.Sprintf("\n[advertise]\nwal = %q\nraft = %q\n", wal, raft)
		}
		fmt.Fprintf(&peers, "\n[[peers]]\nid = %d\nkafka = %q\nwal = %q\nraft = %q\n", i+1, s.Kafka, wal, raft)
		c.Nodes = append(c.Nodes, s)
		if o.Proxied {
			c.proxy(s, wal, raft)
		}
	}
	if c.Net != nil {
		t.Cleanup(c.Net.Close)
	}
	for i, s := range c.Nodes {
		s.o = o
		s.o.Dir = s.Dir
		extra := ""
		if o.NodeConfig != nil {
			extra = o.NodeConfig(i)
		}
		s.o.Config = fmt.Sprintf("node_id = %d\n%s%s%s%s", i+1, o.Config, extra, advertise[i], peers.String())
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

// proxy puts a proxy in front of a node's ports for other nodes, as long as its process runs.
func (c *Cluster) proxy(s *Server, wal, raft string) {
	if c.Net == nil {
		c.Net = newNetwork(func() []int {
			pids := make([]int, len(c.Nodes))
			for i, s := range c.Nodes {
				pids[i] = s.Pid()
			}
			return pids
		})
	}
	node := c.Net.add(s.t, [2]string{wal, raft}, [2]string{s.WAL, s.Raft})
	s.up, s.down = func() { c.Net.up(s.t, node) }, func() { c.Net.downed(node) }
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
