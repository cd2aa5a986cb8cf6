package replica

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/uuid"
)

// This file compares, slowly and in the background, what leaders and followers have below the high watermark (R10): the same offset and leader
// epoch is the same batch everywhere. It also finds damage that nobody has come upon by reading. Which of two replicas that differ is right
// cannot be known: both nodes say so loudly, and nothing is changed.

const (
	// compareEvery is the time between two ranges, of compareBytes at most, that this node compares.
	compareEvery = 5 * time.Second
	compareBytes = 16 << 20
	// compareAgain is how long after all was compared it begins again; missedAgain, in ranges, is that when some follower could not answer.
	compareAgain = time.Hour
	missedAgain  = 6
	// compareTimeout bounds one question.
	compareTimeout = 10 * time.Second
)

// Range is a piece of a partition as its leader has it: the checksum of all batches between two offsets (partition.Log.Checksum).
type Range struct {
	Topic       uuid.UUID `json:"topic"`
	Partition   int32     `json:"partition"`
	LeaderEpoch int32     `json:"leaderEpoch"`
	From        int64     `json:"from"`
	To          int64     `json:"to"`
	CRC         uint32    `json:"crc"`
	Batches     int       `json:"batches"`
}

// Comparison is what a follower says about a range.
type Comparison struct {
	// Done: the follower holds the range, verified in the leader's epoch, and could read it.
	Done    bool   `json:"done"`
	CRC     uint32 `json:"crc"`
	Batches int    `json:"batches"`
}

// equal reports whether a follower has what the leader has.
func (c Comparison) equal(x *Range) bool { return c.CRC == x.CRC && c.Batches == x.Batches }

// Compare answers a leader's question about this node's replica.
func (s *Set) Compare(x *Range) Comparison {
	r := s.Get(x.Topic, x.Partition)
	if r == nil || r.log == nil || !r.holds(x) {
		return Comparison{}
	}
	crc, batches, at, err := r.log.ChecksumSome(0, x.From, x.To, math.MaxInt64)
	if err != nil {
		r.ReportCorrupt(at, err)
		return Comparison{}
	}
	if !r.holds(x) { // deleted meanwhile, or begun anew
		return Comparison{}
	}
	c := Comparison{Done: true, CRC: crc, Batches: batches}
	if !c.equal(x) {
		s.differs(r, x, s.o.NodeID, c)
	}
	return c
}

// holds reports whether this follower has the range, as the leader of that epoch has it.
func (r *Replica) holds(x *Range) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.following
	return f != nil && !f.IsFaulty() && r.view.LeaderEpoch == x.LeaderEpoch && f.Verified() >= x.To && r.log.Start() <= x.From
}

// differs says on this node that a follower has something else than its leader.
func (s *Set) differs(r *Replica, x *Range, follower int32, c Comparison) {
	s.stats.differ.Add(1)
	s.log.Error("REPLICAS DIFFER below the high watermark: one of the two is wrong, and nothing is done about it", "partition", r.id.String(), "topic", r.topic,
		"from", x.From, "to", x.To, "epoch", x.LeaderEpoch, "leader", r.Leader(), "follower", follower, "leader_crc", x.CRC, "leader_batches", x.Batches,
		"follower_crc", c.CRC, "follower_batches", c.Batches)
}

// compared is how far a partition was compared with the processes that hold it.
type compared struct {
	end       int64
	processes int64 // the sum of their broker epochs: who comes back has what its disk has kept meanwhile
}

// comparer goes through what this node leads, range by range.
type comparer struct {
	s      *Set
	restAt time.Time // everything was compared then; zero: not yet
	missed bool      // some follower could not answer since
	done   map[partition.ID]compared
}

// runComparisons compares a range now and then.
func (s *Set) runComparisons(ctx context.Context) {
	if s.o.Compare == nil {
		return
	}
	c := comparer{s: s, done: map[partition.ID]compared{}}
	t := time.NewTicker(s.o.CompareEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			c.next(ctx)
		}
	}
}

// next compares the next range there is.
func (c *comparer) next(ctx context.Context) {
	all := slices.Clone(c.s.All())
	slices.SortFunc(all, func(a, b *Replica) int {
		if n := slices.Compare(a.id.Topic[:], b.id.Topic[:]); n != 0 {
			return n
		}
		return int(a.id.Partition) - int(b.id.Partition)
	})
	for _, r := range all {
		if r.log == nil || !r.leads.Load() || r.corruptAt.Load() != 0 {
			continue
		}
		from, processes := r.log.Start(), r.processes()
		if was := c.done[r.id]; was.processes == processes {
			from = max(from, was.end)
		}
		if hw := r.log.HighWatermark(); from < hw {
			if next := c.compareRange(ctx, r, from, hw); next > from {
				c.done[r.id] = compared{next, processes}
				return
			}
		}
	}
	if c.restAt.IsZero() {
		c.restAt = time.Now()
	}
	rest := compareAgain
	if c.missed {
		rest = missedAgain * c.s.o.CompareEvery
	}
	if time.Since(c.restAt) >= rest {
		c.restAt, c.missed = time.Time{}, false
		clear(c.done) // those of partitions that are gone too
	}
}

// compareRange compares a range that begins at from with what each follower has, and returns where it ends; from if there was nothing to compare.
func (c *comparer) compareRange(ctx context.Context, r *Replica, from, hw int64) int64 {
	epoch := r.epoch.Load()
	crc, batches, next, err := r.log.ChecksumSome(0, from, hw, compareBytes)
	if err != nil {
		r.ReportCorrupt(next, err)
		return from
	}
	x := Range{Topic: r.id.Topic, Partition: r.id.Partition, LeaderEpoch: epoch, From: from, To: next, CRC: crc, Batches: batches}
	for _, l := range r.followers() {
		if r.checkEpoch(epoch) != nil || r.log.Start() > from {
			return from
		}
		answer, err := c.ask(ctx, l, &x)
		switch {
		case errors.Is(err, context.Canceled):
			return from
		case err != nil || !answer.Done:
			c.missed = true // it lags, is away, or is to be repaired
			continue
		}
		c.s.stats.compared.Add(1)
		if !answer.equal(&x) && r.checkEpoch(epoch) == nil && r.log.Start() <= from {
			c.s.differs(r, &x, l, answer)
		}
	}
	return next
}

func (c *comparer) ask(ctx context.Context, node int32, x *Range) (Comparison, error) {
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	return c.s.o.Compare(ctx, node, x)
}

// followers are the nodes that this one pushes to.
func (r *Replica) followers() []int32 {
	links := r.links.Load()
	if links == nil {
		return nil
	}
	ids := make([]int32, 0, len(*links))
	for _, l := range *links {
		ids = append(ids, l.node)
	}
	return ids
}

// processes is the sum of the broker epochs of the replicas.
func (r *Replica) processes() (sum int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.view.Members {
		sum += r.view.Members[i].BrokerEpoch
	}
	return sum
}
