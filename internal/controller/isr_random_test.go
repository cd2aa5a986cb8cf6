package controller

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/uuid"
)

// acked models what the ISR is for. Per partition: who has every record that was ever acknowledged. Records are acknowledged whenever a
// leader may do so, by all that are in its ISR; whoever is outside then lacks them until it catches up.
type acked struct {
	has  map[int32]bool
	lost bool // an unclean election, or the last copy's disk: nothing is promised any more
}

// randomISR is a random history of brokers that come, go and lose disks, of leaders that propose and settings that change.
type randomISR struct {
	t     *testing.T
	rng   *rand.Rand
	c     *Controller
	log   *memoryLog
	disk  map[int32]byte
	parts map[string]*acked
	stale []func() // proposals that are still under way, with who made them
	seen  map[string]int
}

func (r *randomISR) each(f func(key string, t *metadata.Topic, n int32, p *metadata.Partition)) {
	for t := range r.log.Image().Topics() {
		for n, p := range t.Partitions {
			f(fmt.Sprint(t.Name, n), t, int32(n), p)
		}
	}
}

// step does one random thing.
func (r *randomISR) step() {
	ctx, id := r.t.Context(), int32(1+r.rng.IntN(3))
	b := r.log.Image().Broker(id)
	var err error
	switch k := r.rng.IntN(12); k {
	case 0, 1:
		err = r.c.FenceBroker(ctx, id, b.Epoch)
	case 2, 3:
		err = r.c.UnfenceBroker(ctx, id, b.Epoch)
	case 4:
		if b.Fenced && r.rng.IntN(4) == 0 {
			r.disk[id] += 10
			for _, a := range r.parts {
				delete(a.has, id)
				a.lost = a.lost || len(a.has) == 0
			}
		}
		_, err = r.c.RegisterBroker(ctx, Registration{BrokerID: id, Incarnation: uuid.New(), DiskID: uuid.UUID{r.disk[id]}, Fenced: r.rng.IntN(2) == 0})
	case 5:
		err = r.c.ResignBroker(ctx, id, b.Epoch)
	case 6:
		res := metadata.Resource{Type: metadata.ResourceTopic, Name: "t"}
		if r.rng.IntN(2) == 0 {
			res = metadata.Resource{Type: metadata.ResourceBroker}
		}
		v := fmt.Sprint(1 + r.rng.IntN(2))
		_, err = r.c.IncrementalAlterConfigs(ctx, []ResourceChanges{{res, []ConfigChange{{"min.insync.replicas", OpSet, &v}}}}, false)
	case 7:
		_, err = r.c.ElectLeaders(ctx, ElectPreferred, nil)
	case 8:
		if n := len(r.stale); n > 0 {
			i := r.rng.IntN(n)
			r.stale[i]()
			r.stale = slices.Delete(r.stale, i, i+1)
		}
	default:
		r.propose()
	}
	if err != nil && !errors.As(err, new(*Refusal)) {
		r.t.Fatalf("a batch does not apply: %v", err)
	}
}

// propose lets the leaders acknowledge, and propose other ISRs, some of which arrive much later.
func (r *randomISR) propose() {
	im := r.log.Image()
	r.each(func(key string, t *metadata.Topic, n int32, p *metadata.Partition) {
		if p.Leader == metadata.NoLeader || r.rng.IntN(2) == 0 {
			return
		}
		ch := IsrChange{TopicID: t.ID, Partition: n, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
		joins := r.rng.IntN(2) == 0
		for _, id := range p.Replicas {
			if p.InISR(id) && (id == p.Leader || r.rng.IntN(3) > 0) || !p.InISR(id) && joins {
				ch.ISR = append(ch.ISR, id)
			}
		}
		ch.BrokerEpochs = brokerEpochs(im, ch.ISR)
		leader, epoch := p.Leader, im.Broker(p.Leader).Epoch
		send := func() {
			// The model catches up at once: who is accepted has everything, as the maximal ISR demands.
			results, err := r.c.ChangeIsr(r.t.Context(), leader, epoch, []IsrChange{ch})
			if err != nil {
				r.t.Fatal(err)
			}
			if results[0] != nil {
				r.seen["refused"]++
				return
			}
			r.seen["changed"]++
			for _, id := range ch.ISR {
				r.parts[key].has[id] = true
			}
		}
		if r.rng.IntN(4) == 0 {
			r.stale = append(r.stale, send)
			return
		}
		send()
	})
	r.each(func(key string, t *metadata.Topic, _ int32, p *metadata.Partition) {
		if p.Leader != metadata.NoLeader && len(p.ISR) >= MinISR(r.log.Image(), t.Name, len(p.Replicas)) && r.rng.IntN(2) == 0 {
			a := r.parts[key]
			maps.DeleteFunc(a.has, func(id int32, _ bool) bool { return !p.InISR(id) })
			r.seen["acked"]++
		}
	})
}

// check holds the invariants between two images.
func (r *randomISR) check(before *metadata.Image) {
	im := r.log.Image()
	r.each(func(key string, t *metadata.Topic, n int32, p *metadata.Partition) {
		old := before.TopicByID(t.ID).Partition(n)
		minISR := MinISR(im, t.Name, len(p.Replicas))
		leads := p.Leader != metadata.NoLeader
		switch {
		case leads && !p.InISR(p.Leader):
			r.t.Fatalf("%s: the leader is not in the ISR: %+v", key, p)
		case leads && im.Broker(p.Leader).Fenced && old.Leader != p.Leader:
			r.t.Fatalf("%s: a fenced broker was elected: %+v", key, p)
		case len(p.ELR) > 0 && len(p.ISR) >= minISR:
			r.t.Fatalf("%s: eligible replicas beside an ISR that acknowledges: %+v", key, p)
		case p.Leader != old.Leader && p.LeaderEpoch <= old.LeaderEpoch || p.LeaderEpoch < old.LeaderEpoch:
			r.t.Fatalf("%s: leader epoch: %+v after %+v", key, p, old)
		case p != old && p.PartitionEpoch <= old.PartitionEpoch:
			r.t.Fatalf("%s: partition epoch: %+v after %+v", key, p, old)
		case leads && im.Broker(p.Leader).Epoch != before.Broker(p.Leader).Epoch && p.LeaderEpoch == old.LeaderEpoch:
			r.t.Fatalf("%s: a new incarnation goes on with an old leader epoch: %+v", key, p)
		}
		for _, id := range slices.Concat(p.ISR, p.ELR) {
			if !p.HasReplica(id) || p.InISR(id) && p.InELR(id) {
				r.t.Fatalf("%s: ISR and ELR: %+v", key, p)
			}
			if a := r.parts[key]; !a.lost && !a.has[id] {
				r.t.Fatalf("%s: %d may lead and lacks acknowledged records; %v have them: %+v after %+v", key, id, a.has, p, old)
			}
		}
		if p.Leader != old.Leader {
			r.seen["elections"]++
		}
		if len(p.ELR) > 0 {
			r.seen["eligible"]++
		}
	})
}

// TestRandomFailovers draws histories and holds, after each step: the leader is in the ISR, which is disjoint from the ELR; epochs rise;
// and nobody who lacks an acknowledged record is in either.
func TestRandomFailovers(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 20
	}
	seen := map[string]int{}
	for seed := range seeds {
		c, log := cluster(t, 3, map[string]string{"min.insync.replicas": "2"})
		mustCreate(t, c, topic("t", 3, 3), topic("u", 2, 3), topic("v", 2, 2), topic("w", 2, 1))
		r := &randomISR{t: t, rng: rand.New(rand.NewPCG(seed, 7)), c: c, log: log, disk: map[int32]byte{1: 1, 2: 2, 3: 3},
			parts: map[string]*acked{}, seen: seen}
		r.each(func(key string, _ *metadata.Topic, _ int32, p *metadata.Partition) {
			r.parts[key] = &acked{has: map[int32]bool{}}
			for _, id := range p.ISR {
				r.parts[key].has[id] = true
			}
		})
		for range 200 {
			before := log.Image()
			r.step()
			r.check(before)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	}
	for _, what := range []string{"refused", "changed", "acked", "elections", "eligible"} {
		if seen[what] < 100 {
			t.Errorf("only %d times %s", seen[what], what)
		}
	}
	t.Log(seen)
}
