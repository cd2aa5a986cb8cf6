package nemesis

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Damage is what is done to one process.
type Damage int

// The damages.
const (
	Kill          Damage = iota // SIGKILL, and a start after the hold
	Pause                       // SIGSTOP, and SIGCONT after the hold
	PauseThenKill               // SIGSTOP, and SIGKILL instead of SIGCONT: nothing that it had in hand is ever done
	KillInStart                 // SIGKILL, and once more while it starts
	Terminate                   // SIGTERM, and a start after the hold
)

// String is its name in reports.
func (d Damage) String() string {
	return [...]string{"kill", "pause", "pause then kill", "kill, and kill in start", "terminate"}[d]
}

// Target says whom a fault hits; who that is, is decided when it comes.
type Target int

// The targets.
const (
	Controller Target = iota
	Follower          // one that is not the controller
	Two               // the controller and a follower
	TwoFollowers
	All
)

// String is its name in reports.
func (t Target) String() string {
	return [...]string{"controller", "follower", "controller and follower", "two followers", "all"}[t]
}

// Fault is one round's damage.
type Fault struct {
	Before time.Duration // undisturbed load before it
	Target Target
	Damage []Damage      // of each node that is hit, in turn; the last one for the others too
	Hold   time.Duration // from the damage to its end
	Pick   uint64        // chooses among followers
}

// Kind names faults that are alike.
func (f *Fault) Kind() string {
	d := f.Damage[0].String()
	if len(f.Damage) > 1 && f.Damage[1] != f.Damage[0] {
		d += "+" + f.Damage[1].String()
	}
	return fmt.Sprintf("%s: %s", d, f.Target)
}

func (f *Fault) damage(i int) Damage { return f.Damage[min(i, len(f.Damage)-1)] }

// Limits bound the lengths of a schedule.
type Limits struct {
	Before  time.Duration // longest undisturbed time
	Down    time.Duration // longest time between a kill and the start after it
	Stopped time.Duration // longest time between SIGSTOP and SIGCONT
}

// DefaultLimits are long enough for elections and expired sessions, and short enough for hundreds of rounds.
var DefaultLimits = Limits{Before: 800 * time.Millisecond, Down: 1500 * time.Millisecond, Stopped: 4 * time.Second}

// Schedule is a seeded, endless list of faults.
type Schedule struct {
	r      *rand.Rand
	limits Limits
	left   []Fault // of the current round through all kinds
}

// NewSchedule makes the schedule of a seed.
func NewSchedule(seed uint64, limits Limits) *Schedule {
	return &Schedule{r: rand.New(rand.NewPCG(seed, 1)), limits: limits}
}

// kinds are the faults that every round through all of them has.
var kinds = []Fault{
	{Target: Controller, Damage: []Damage{Kill}},
	{Target: Controller, Damage: []Damage{Kill}},
	{Target: Controller, Damage: []Damage{Pause}},
	{Target: Controller, Damage: []Damage{Pause}},
	{Target: Controller, Damage: []Damage{PauseThenKill}},
	{Target: Follower, Damage: []Damage{Kill}},
	{Target: Follower, Damage: []Damage{Pause}},
	{Target: Follower, Damage: []Damage{KillInStart}},
	{Target: Controller, Damage: []Damage{Terminate}},
	{Target: Two, Damage: []Damage{Kill}},
	{Target: Two, Damage: []Damage{Pause}},
	{Target: Two, Damage: []Damage{Pause, Kill}},
	{Target: Two, Damage: []Damage{Kill, Pause}},
	{Target: TwoFollowers, Damage: []Damage{Kill}},
	{Target: TwoFollowers, Damage: []Damage{Pause}},
	{Target: All, Damage: []Damage{Kill}},
	{Target: All, Damage: []Damage{Pause}},
	{Target: All, Damage: []Damage{Pause, Kill}},
	{Target: All, Damage: []Damage{KillInStart}},
}

// Next returns the next fault. Every kind comes once before one comes again.
func (s *Schedule) Next() Fault {
	if len(s.left) == 0 {
		s.left = append(s.left, kinds...)
		s.r.Shuffle(len(s.left), func(i, j int) { s.left[i], s.left[j] = s.left[j], s.left[i] })
	}
	f := s.left[0]
	s.left = s.left[1:]
	f.Pick = s.r.Uint64()
	f.Before = between(s.r, 50*time.Millisecond, s.limits.Before)
	f.Hold = between(s.r, 0, s.limits.Down)
	for _, d := range f.Damage {
		if d == Pause || d == PauseThenKill {
			f.Hold = between(s.r, 100*time.Millisecond, s.limits.Stopped)
		}
	}
	return f
}

func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(max(most-least, 1))))
}
