package torture

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-io/chronik/internal/testcluster"
)

const (
	failWithin = 20 * time.Second // a process ends after its sync has failed
	slowSync   = 20_000           // microseconds more
)

// Tormentor does faults to a cluster.
type Tormentor struct {
	cluster *testcluster.Cluster
	// leader and controller are the nodes that those targets mean now, indexes from 0; -1 if nobody knows.
	leader, controller func(context.Context) int

	slowStops atomic.Int64
}

// exitSlow is how a server exits that was asked to stop and could not do so in time: as after a kill, which loses nothing.
const exitSlow = 4

// stop ends a process with SIGTERM.
func (m *Tormentor) stop(s *testcluster.Server) error {
	err := s.Stop()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == exitSlow {
		m.slowStops.Add(1)
		return nil
	}
	return err
}

// Outcome is what a fault did, and when.
type Outcome struct {
	Fault   Fault
	Victims []int     // indexes of nodes
	Began   time.Time // the damage
	Healing time.Time // its end: SIGCONT, the start, the cut healed
	Healed  time.Time // all processes are ready
}

// Majority is whether most of the nodes were left undamaged.
func (o *Outcome) Majority() bool {
	switch o.Fault.Damage {
	case Roll, RollKill:
		return true
	case Reset:
		return false
	}
	return len(o.Victims) == 1
}

// Do waits, does a fault, holds it, and ends it. It returns when all processes are ready again and the network is whole.
func (m *Tormentor) Do(ctx context.Context, f Fault) (*Outcome, error) {
	sleep(ctx, f.Before)
	out := &Outcome{Fault: f, Victims: m.victims(ctx, &f)}
	out.Began = time.Now()
	err := m.damage(ctx, out)
	out.Healed = time.Now()
	if out.Healing.IsZero() {
		out.Healing = out.Healed
	}
	return out, errors.Join(err, ctx.Err())
}

func (m *Tormentor) damage(ctx context.Context, out *Outcome) error {
	f := &out.Fault
	switch f.Damage {
	case Roll, RollKill:
		return m.roll(ctx, out)
	case Isolate, CutOut, CutIn, CutWAL, CutRaft, Bridge, Reset, HalfOpen, Delay:
		m.network(out)
		sleep(ctx, f.Hold)
		out.Healing = time.Now()
		m.cluster.Net.Heal()
		return nil
	case DiskError, SlowDisk:
		return m.trace(ctx, out)
	}
	err := m.each(out, func(v int) error { return m.hit(f.Damage, m.cluster.Nodes[v]) })
	sleep(ctx, f.Hold)
	out.Healing = time.Now()
	return errors.Join(err, m.each(out, func(v int) error { return m.heal(f, m.cluster.Nodes[v]) }))
}

func (m *Tormentor) hit(d Damage, s *testcluster.Server) error {
	switch d {
	case Kill, KillInStart:
		s.Kill()
	case Pause, PauseThenKill:
		return s.Pause()
	case Terminate:
		return m.stop(s)
	case DiskFull:
		return fill(s.Dir)
	}
	return nil
}

func (m *Tormentor) heal(f *Fault, s *testcluster.Server) error {
	switch f.Damage {
	case Pause:
		return s.Cont()
	case DiskFull:
		return unfill(s.Dir)
	case PauseThenKill:
		s.Kill()
	case KillInStart:
		early := time.AfterFunc(time.Duration(f.Pick%200)*time.Millisecond, s.Kill)
		if err := s.TryRestart(); err == nil && early.Stop() {
			return nil // it was ready before
		}
		s.Kill()
	}
	return s.TryRestart()
}

// roll restarts all nodes, one after the other.
func (m *Tormentor) roll(ctx context.Context, out *Outcome) error {
	for _, v := range out.Victims {
		s := m.cluster.Nodes[v]
		if out.Fault.Damage == RollKill {
			s.Kill()
		} else if err := m.stop(s); err != nil {
			return fmt.Errorf("stop node %d: %w", v+1, err)
		}
		if err := s.TryRestart(); err != nil {
			return fmt.Errorf("start node %d: %w", v+1, err)
		}
		sleep(ctx, out.Fault.Hold)
	}
	return nil
}

// network damages connections between the nodes.
func (m *Tormentor) network(out *Outcome) {
	n, f := m.cluster.Net, &out.Fault
	for _, v := range out.Victims {
		bridged := false
		for i := range m.cluster.Nodes {
			o := (i + int(f.Pick%3)) % len(m.cluster.Nodes)
			if o == v {
				continue
			}
			switch f.Damage {
			case Isolate:
				n.Cut(v, o)
				n.Cut(o, v)
			case CutOut:
				n.Cut(v, o)
			case CutIn:
				n.Cut(o, v)
			case CutWAL:
				n.Cut(v, o, testcluster.WALPort)
				n.Cut(o, v, testcluster.WALPort)
			case CutRaft:
				n.Cut(v, o, testcluster.RaftPort)
				n.Cut(o, v, testcluster.RaftPort)
			case Bridge:
				if !bridged {
					bridged = true
					n.Cut(v, o)
					n.Cut(o, v)
				}
			case Reset:
				n.Reset(v, o)
			case HalfOpen:
				n.HalfOpen(v, o)
			case Delay:
				by := time.Duration(5+f.Pick%150) * time.Millisecond
				n.Delay(v, o, by)
				n.Delay(o, v, by)
			}
		}
	}
}

// trace makes the syncs of one node fail or be slow.
func (m *Tormentor) trace(ctx context.Context, out *Outcome) error {
	s := m.cluster.Nodes[out.Victims[0]]
	what := "error=EIO:when=1"
	if out.Fault.Damage == SlowDisk {
		what = fmt.Sprintf("delay_exit=%d", slowSync)
	}
	t, err := inject(s.Pid(), what)
	if err != nil {
		return err
	}
	defer t.detach()
	if out.Fault.Damage == SlowDisk {
		sleep(ctx, out.Fault.Hold)
		out.Healing = time.Now()
		return nil
	}
	select {
	case <-s.Exited():
	case <-time.After(failWithin):
		return fmt.Errorf("node %d runs %v after its sync has failed", out.Victims[0]+1, failWithin)
	}
	t.detach()
	sleep(ctx, out.Fault.Hold)
	out.Healing = time.Now()
	return s.TryRestart()
}

func (m *Tormentor) each(out *Outcome, do func(node int) error) error {
	errs := make([]error, len(out.Victims))
	var wg sync.WaitGroup
	for i, v := range out.Victims {
		wg.Go(func() {
			if err := do(v); err != nil {
				errs[i] = fmt.Errorf("node %d: %w", v+1, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// victims chooses who is hit.
func (m *Tormentor) victims(ctx context.Context, f *Fault) []int {
	n := len(m.cluster.Nodes)
	first := int(f.Pick % uint64(n))
	who := -1
	switch f.Target {
	case Leader, Two:
		who = m.leader(ctx)
	case Controller:
		who = m.controller(ctx)
	}
	if who >= 0 {
		first = who
	}
	count := 1
	switch f.Target {
	case Two:
		count = 2
	case All:
		count = n
	}
	step := 1 + int(f.Pick/3%uint64(n-1)) // n is prime: all are reached
	var all []int
	for i := range count {
		all = append(all, (first+i*step)%n)
	}
	return all
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
