package nemesis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-io/chronik/internal/testcluster"
)

// Nemesis does faults to a cluster.
type Nemesis struct {
	cluster *testcluster.Cluster
	// controller is the node that leads now, an index into the cluster's nodes; -1 if nobody says that it does.
	controller  func(context.Context) int
	incarnation []atomic.Int64 // by node
}

// New makes a nemesis for a cluster that runs.
func New(c *testcluster.Cluster, controller func(context.Context) int) *Nemesis {
	return &Nemesis{cluster: c, controller: controller, incarnation: make([]atomic.Int64, len(c.Nodes))}
}

// Incarnation changes whenever a node's process is about to end: what was asked and answered in one incarnation came from one process.
func (n *Nemesis) Incarnation(node int) int64 { return n.incarnation[node].Load() }

// Outcome is what a fault did, and when.
type Outcome struct {
	Fault   Fault
	Victims []int     // indexes of nodes
	Began   time.Time // the first signal
	Healing time.Time // the damage ends: SIGCONT, or the start
	Healed  time.Time // all processes are ready
	// Majority is whether the nodes that were left were one all the time.
	Majority bool
}

// Do waits, does a fault, holds it, and ends it. It returns when all processes are ready again.
func (n *Nemesis) Do(ctx context.Context, f Fault) (*Outcome, error) {
	if err := sleep(ctx, f.Before); err != nil {
		return nil, err
	}
	out := &Outcome{Fault: f, Victims: n.victims(ctx, &f)}
	out.Majority = len(n.cluster.Nodes)-len(out.Victims) > len(n.cluster.Nodes)/2
	out.Began = time.Now()
	var errs []error
	for i, v := range out.Victims { // signals first, so that they hit at once; the ends are awaited below
		if f.damage(i) == Pause || f.damage(i) == PauseThenKill {
			errs = append(errs, n.cluster.Nodes[v].Pause())
		}
	}
	errs = append(errs, n.each(out, func(i, v int) error {
		switch f.damage(i) {
		case Kill, KillInStart:
			n.kill(v)
		case Terminate:
			n.incarnation[v].Add(1)
			if err := n.cluster.Nodes[v].Stop(); err != nil {
				return fmt.Errorf("stop node %d: %w", v+1, err)
			}
		}
		return nil
	}))
	if err := sleep(ctx, f.Hold); err != nil {
		errs = append(errs, err)
	}
	out.Healing = time.Now()
	errs = append(errs, n.each(out, func(i, v int) error { return n.heal(v, f.damage(i), f.Pick) }))
	out.Healed = time.Now()
	return out, errors.Join(errs...)
}

func (n *Nemesis) heal(node int, d Damage, pick uint64) error {
	s := n.cluster.Nodes[node]
	switch d {
	case Pause:
		return s.Cont()
	case PauseThenKill:
		n.kill(node)
	case KillInStart:
		early := time.AfterFunc(time.Duration(pick%120)*time.Millisecond, func() { n.kill(node) })
		if err := s.TryRestart(); err == nil && early.Stop() {
			return nil // it was ready before
		}
		n.kill(node) // the timer may have fired before there was a process
	}
	if err := s.TryRestart(); err != nil {
		return fmt.Errorf("start node %d: %w", node+1, err)
	}
	return nil
}

func (n *Nemesis) kill(node int) {
	n.incarnation[node].Add(1)
	n.cluster.Nodes[node].Kill()
}

func (n *Nemesis) each(out *Outcome, do func(i, node int) error) error {
	errs := make([]error, len(out.Victims))
	var wg sync.WaitGroup
	for i, v := range out.Victims {
		wg.Go(func() { errs[i] = do(i, v) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// victims chooses who is hit. Without a controller another node stands for it.
func (n *Nemesis) victims(ctx context.Context, f *Fault) []int {
	count := len(n.cluster.Nodes)
	leader := n.controller(ctx)
	if leader < 0 {
		leader = int(f.Pick % uint64(count))
	}
	var followers []int
	for i := range count {
		if i != leader {
			followers = append(followers, i)
		}
	}
	at := f.Pick % uint64(len(followers))
	one := followers[at]
	other := followers[(at+1)%uint64(len(followers))]
	switch f.Target {
	case Controller:
		return []int{leader}
	case Follower:
		return []int{one}
	case Two:
		return []int{leader, one}
	case TwoFollowers:
		return []int{one, other}
	}
	return append([]int{leader}, followers...)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
