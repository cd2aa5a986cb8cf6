package bench

import (
	"runtime"
	"sync"
	"time"
)

// spinBelow is how close to the intended start the pump spins rather than sleeps: timers are late by about this much.
const spinBelow = 100 * time.Microsecond

// startPumps starts the open loop or async: one goroutine per client sends, the client's own goroutine finishes.
func (r *run) startPumps() {
	var wg sync.WaitGroup
	quota := share(r.o.Messages, len(r.producers))
	for i, c := range r.producers {
		l := &ledger{}
		r.ledgers = append(r.ledgers, l)
		n := max(1, r.o.Outstanding/len(r.producers))
		c.free = newRing[*slot](n)
		p := &pump{client: c, ledger: l, producer: uint32(i), room: n, left: quota(i), stop: r.stopped.ch}
		wg.Add(1)
		c.pending.Add(1) // the pump itself: pending must not reach zero before it has ended
		go func() {
			defer wg.Done()
			defer c.pending.Done()
			if r.o.Async {
				p.flood()
			} else {
				p.pace(time.Duration(float64(time.Second)*float64(len(r.producers))/r.o.Rate), time.Duration(i)*time.Duration(float64(time.Second)/r.o.Rate))
			}
		}()
	}
}

// pump sends one client's records.
type pump struct {
	client   *producerClient
	ledger   *ledger
	producer uint32
	room     int   // slots that may still be made
	left     int64 // records still to send; below 0 is without end
	stop     <-chan struct{}
}

// take returns a free slot, a new one while there is room, else waits for one to come back.
func (p *pump) take() (*slot, bool) {
	if s, ok := p.client.free.get(); ok {
		return s, true
	}
	if p.room > 0 {
		p.room--
		return p.client.newSlot(p.producer, p.ledger), true
	}
	return p.client.free.wait(p.stop)
}

// over says whether the pump has to end.
func (p *pump) over(at int64) bool {
	if p.left == 0 || at >= p.client.run.window.end.Load() {
		return true
	}
	if p.left > 0 {
		p.left--
	}
	return false
}

// flood sends as fast as slots come back.
func (p *pump) flood() {
	for {
		s, ok := p.take()
		now := p.client.run.clock.now()
		if !ok || p.over(now) {
			return
		}
		p.client.pending.Add(1)
		s.send(now, now)
	}
}

// pace sends on a fixed schedule. When the pump or the cluster falls behind, records are sent late but keep their intended start: the
// wait is in the latency, as it would be for a user.
func (p *pump) pace(period, phase time.Duration) {
	clock := p.client.run.clock
	begin := clock.now() + int64(phase)
	for i := int64(0); ; i++ {
		intended := begin + i*int64(period)
		now := clock.now()
		for now < intended {
			wait := time.Duration(intended - now)
			if wait > spinBelow {
				select {
				case <-p.stop:
					return
				case <-time.After(wait - spinBelow/2):
				}
			} else {
				runtime.Gosched()
			}
			now = clock.now()
		}
		if p.over(intended) || now >= p.client.run.window.end.Load() {
			return
		}
		s, ok := p.take()
		if !ok {
			return
		}
		p.client.pending.Add(1)
		s.send(intended, clock.now())
	}
}
