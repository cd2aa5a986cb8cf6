package torture

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"time"
)

// Damage is what is done.
type Damage int

// The damages. Those of the network concern the node's connections to the other nodes, not those of clients.
const (
	Kill          Damage = iota // SIGKILL, and a start after the hold
	KillInStart                 // the same, and SIGKILL once more during the start
	Pause                       // SIGSTOP, and SIGCONT after the hold
	PauseThenKill               // SIGSTOP, and SIGKILL instead of SIGCONT
	Terminate                   // SIGTERM, and a start after the hold
	Roll                        // SIGTERM and start, one node after the other
	RollKill                    // SIGKILL and start, one node after the other
	Isolate                     // nothing from and to the node
	CutOut                      // nothing from the node
	CutIn                       // nothing to the node
	CutWAL                      // nothing from and to the node, on the wal port only
	CutRaft                     // the same on the raft port only
	Bridge                      // nothing between the node and one other; the third reaches both
	Reset                       // all connections end with a reset
	HalfOpen                    // all connections end at the other end only
	Delay                       // everything from and to the node is late
	DiskFull                    // no byte is free on the node's disk
	DiskError                   // a sync fails, and the process is started again after the hold
	SlowDisk                    // syncs take long
	damages
)

var damageNames = [damages]string{"kill -9", "kill -9, again in start", "SIGSTOP", "SIGSTOP then kill -9", "SIGTERM", "rolling restart", "rolling kill -9",
	"isolated", "cut outwards", "cut inwards", "wal port cut", "raft port cut", "cut from one other", "connections reset", "connections half-open",
	"slow network", "disk full", "sync fails", "slow disk"}

// String is its name in reports.
func (d Damage) String() string { return damageNames[d] }

// Target says whom a fault hits.
type Target int

// The targets.
const (
	Leader     Target = iota // of most partitions of the main topic
	Controller               // of the metadata
	Random
	Two
	All
)

// String is its name in reports.
func (t Target) String() string {
	return [...]string{"leader", "controller", "any node", "two", "all"}[t]
}

// Fault is one damage to one target.
type Fault struct {
	Damage Damage
	Target Target
	Before time.Duration // undisturbed load before it
	Hold   time.Duration
	Pick   uint64 // chooses among nodes
	// Hurry: the next fault comes when all partitions acknowledge again, not only when all replicas are in sync.
	Hurry bool
}

// Kind names faults that are alike.
func (f *Fault) Kind() string { return fmt.Sprintf("%v: %v", f.Damage, f.Target) }

// needs are what a machine must have for a fault.
type needs struct{ disks, strace bool }

// kinds are the faults that come once in every round through all of them.
func kinds(have needs, match *regexp.Regexp) (all []Fault) {
	add := func(d Damage, targets ...Target) {
		for _, t := range targets {
			if f := (Fault{Damage: d, Target: t}); match == nil || match.MatchString(f.Kind()) {
				all = append(all, f)
			}
		}
	}
	add(Kill, Leader, Leader, Controller, Controller, Random, Two, Two, All, All)
	add(KillInStart, Leader, All)
	add(Pause, Leader, Leader, Controller, Random, Two, All)
	add(PauseThenKill, Leader, Controller, All)
	add(Terminate, Leader, Controller, Random, Two, All)
	add(Roll, All)
	add(RollKill, All)
	add(Isolate, Leader, Controller, Random, All)
	add(CutOut, Leader, Controller)
	add(CutIn, Leader, Controller)
	add(CutWAL, Leader, Controller)
	add(CutRaft, Controller)
	add(Bridge, Leader, Controller)
	add(Reset, Leader, All)
	add(HalfOpen, Leader, Random)
	add(Delay, Leader, Random)
	if have.disks {
		add(DiskFull, Leader, Random, All)
	}
	if have.strace {
		add(DiskError, Leader, Controller)
		add(SlowDisk, Leader, Random)
	}
	return all
}

// Schedule is a seeded, endless list of faults.
type Schedule struct {
	r     *rand.Rand
	kinds []Fault
	left  []Fault // of the current round
}

// NewSchedule makes the schedule of a seed.
func NewSchedule(seed uint64, kinds []Fault) *Schedule {
	return &Schedule{r: rand.New(rand.NewPCG(seed, 2)), kinds: kinds}
}

// Next returns the next fault. Every kind comes once before one comes again.
func (s *Schedule) Next() Fault {
	if len(s.left) == 0 {
		s.left = append(s.left, s.kinds...)
		s.r.Shuffle(len(s.left), func(i, j int) { s.left[i], s.left[j] = s.left[j], s.left[i] })
	}
	f := s.left[0]
	s.left = s.left[1:]
	f.Pick, f.Hurry = s.r.Uint64(), s.r.IntN(2) == 0
	f.Before = s.between(50*time.Millisecond, 800*time.Millisecond)
	switch f.Damage {
	case Kill, KillInStart, Terminate, DiskError:
		f.Hold = s.between(0, 2500*time.Millisecond)
	case Pause:
		f.Hold = s.between(100*time.Millisecond, 3*time.Second)
		if s.r.IntN(3) == 0 {
			f.Hold = s.between(3*time.Second, 10*time.Second)
		}
	case Reset, HalfOpen, Roll, RollKill:
		f.Hold = s.between(0, 500*time.Millisecond)
	default:
		f.Hold = s.between(200*time.Millisecond, 5*time.Second)
	}
	return f
}

func (s *Schedule) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.r.Int64N(int64(most-least)))
}
