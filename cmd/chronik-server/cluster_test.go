package main

import (
	"strings"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/testcluster"
)

// Three empty directories become one cluster; when the controller is killed another node leads within moments, and the killed one comes
// back.
func TestThreeNodesFoundThemselvesAndFailOver(t *testing.T) {
	began := time.Now()
	c := testcluster.StartCluster(t, 3, testcluster.Options{})
	t.Logf("founded and ready after %v", time.Since(began))
	controller := func() int {
		for i, s := range c.Nodes {
			if _, body, err := s.Get("/metrics"); err == nil && strings.Contains(body, "\nchronik_controller 1") {
				return i
			}
		}
		return -1
	}
	await := func(not int) (int, time.Duration) {
		t.Helper()
		for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(5 * time.Millisecond) {
			if i := controller(); i >= 0 && i != not {
				return i, time.Since(began)
			}
		}
		t.Fatal("no controller")
		return -1, 0
	}
	first, _ := await(-1)
	c.Nodes[first].Kill()
	second, took := await(first)
	t.Logf("node %d leads %v after the kill of node %d", second+1, took, first+1)
	c.Nodes[first].Restart()
	if i := controller(); i != second {
		t.Errorf("node %d leads after the return of node %d, not node %d", i+1, first+1, second+1)
	}
}
