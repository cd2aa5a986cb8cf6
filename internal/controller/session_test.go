package controller

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
)

// bench drives the core by hand: brokers 1 to n of which 1 is the controller, image decisions applied as they are taken.
type bench struct {
	t      testing.TB
	s      *sessions
	now    time.Duration
	im     *metadata.Image
	fenced map[int32]bool
	log    []decision
}

const epochOf = 10 // broker n has epoch epochOf+n

func image(t testing.TB, brokers int, fenced map[int32]bool) *metadata.Image {
	b := metadata.NewBatch(metadata.Empty())
	for id := int32(1); id <= int32(brokers); id++ {
		ev := &metadata.BrokerRegistered{BrokerID: id, BrokerEpoch: epochOf + int64(id), Incarnation: Incarnation(uint64(100 + id)),
			DiskID: Incarnation(uint64(id)), Fenced: fenced[id]}
		if err := b.Apply(int64(id), ev); err != nil {
			t.Fatal(err)
		}
	}
	im, _ := b.Done()
	return im
}

func newBench(t testing.TB, brokers int) *bench {
	b := &bench{t: t, s: newSessions(1), now: time.Hour, fenced: map[int32]bool{}}
	b.im = image(t, brokers, nil)
	b.s.begin(b.now, b.im, 0, 0)
	return b
}

// decide takes what was decided and lets the image show it.
func (b *bench) decide() []decision {
	ds := b.s.take()
	for _, d := range ds {
		if d.kind != decideHandOver {
			b.fenced[d.broker] = d.kind == decideFence
		}
	}
	b.log = append(b.log, ds...)
	if len(ds) > 0 {
		b.im = image(b.t, b.im.BrokerCount(), b.fenced)
		b.s.follow(b.now, b.im)
	}
	return ds
}

func (b *bench) beat(ids ...int32) {
	for _, id := range ids {
		b.s.heartbeat(b.now, &Heartbeat{BrokerID: id, Epoch: epochOf + int64(id), Applied: 1000, Ready: true})
	}
}

// run lets time pass in ticks; the given brokers send heartbeats every 500 ms. It returns when a decision was taken, or after d.
func (b *bench) run(d time.Duration, beating ...int32) (ds []decision, after time.Duration) {
	start := b.now
	for b.now < start+d {
		b.now += TickEvery
		if (b.now-start)%HeartbeatEvery == 0 {
			b.beat(beating...)
		}
		b.s.tick(b.now)
		if ds = b.decide(); len(ds) > 0 {
			return ds, b.now - start
		}
	}
	return nil, d
}

func (b *bench) want(ds []decision, kind decisionKind, broker int32) {
	b.t.Helper()
	if len(ds) != 1 || ds[0].kind != kind || ds[0].broker != broker {
		b.t.Fatalf("decided %+v, want %d of broker %d", ds, kind, broker)
	}
}

func TestSilenceAndCalm(t *testing.T) {
	for _, c := range []struct {
		name   string
		before time.Duration
		want   time.Duration
	}{{"at first", time.Second, silence}, {"calm", calmAfter + time.Second, silenceCalm}} {
		b := newBench(t, 3)
		if ds, _ := b.run(c.before, 2, 3); ds != nil {
			t.Fatalf("%s: %+v while all are well", c.name, ds)
		}
		ds, after := b.run(time.Minute, 3)
		b.want(ds, decideFence, 2)
		if after <= c.want || after > c.want+2*TickEvery {
			t.Errorf("%s: fenced after %v of silence, want %v", c.name, after, c.want)
		}
	}
}

func TestProcessEnded(t *testing.T) {
	b := newBench(t, 3)
	b.run(time.Second, 2, 3)
	b.s.ended(2, 999) // another process
	b.s.ended(1, 101) // this one
	if ds, _ := b.run(300*time.Millisecond, 2, 3); ds != nil {
		t.Fatalf("%+v", ds)
	}
	b.s.ended(2, 102)
	ds, after := b.run(time.Second, 3)
	b.want(ds, decideFence, 2)
	if after > TickEvery {
		t.Errorf("fenced only after %v", after)
	}
	// A heartbeat that was on its way takes the word back.
	b = newBench(t, 3)
	b.s.ended(3, 103)
	b.beat(3)
	if ds, _ := b.run(time.Second, 2, 3); ds != nil {
		t.Errorf("%+v", ds)
	}
}

func TestUnfence(t *testing.T) {
	b := newBench(t, 3)
	b.run(time.Second, 2, 3)
	ds, _ := b.run(time.Minute, 3)
	b.want(ds, decideFence, 2)
	if ds, _ := b.run(10*time.Second, 3); ds != nil {
		t.Fatalf("%+v of a silent broker", ds)
	}
	ds, after := b.run(time.Minute, 2, 3)
	b.want(ds, decideUnfence, 2)
	if after != unfenceAfter*HeartbeatEvery {
		t.Errorf("unfenced after %v", after)
	}
	// Heartbeats that come too late do not count.
	ds, _ = b.run(time.Minute, 3)
	b.want(ds, decideFence, 2)
	for range 10 {
		b.beat(2)
		if ds, _ := b.run(HeartbeatEvery+lateBy+TickEvery, 3); ds != nil {
			t.Fatalf("unfenced by late heartbeats: %+v", ds)
		}
	}
}

func TestFreshRegistration(t *testing.T) {
	b := newBench(t, 3)
	b.fenced[2] = true
	b.im = image(t, 3, b.fenced)
	b.s.begin(b.now, b.im, 0, 0)
	b.s.registered(b.now, 2, epochOf+2)
	h := &Heartbeat{BrokerID: 2, Epoch: epochOf + 2, Applied: 5}
	b.s.heartbeat(b.now, h)
	if ds := b.decide(); ds != nil {
		t.Fatalf("in service before it is ready: %+v", ds)
	}
	h.Ready, h.Applied = true, epochOf
	b.s.heartbeat(b.now, h)
	if ds := b.decide(); ds != nil {
		t.Fatalf("in service before it shows its own registration: %+v", ds)
	}
	h.Applied = epochOf + 2
	b.s.heartbeat(b.now, h)
	b.want(b.decide(), decideUnfence, 2)
	if _, known := b.s.heartbeat(b.now, &Heartbeat{BrokerID: 2, Epoch: epochOf}); known {
		t.Error("a heartbeat of another incarnation was taken")
	}
}

func TestFalseFencesMakePatient(t *testing.T) {
	b := newBench(t, 3)
	var last time.Duration
	for i, want := range []time.Duration{silence, silenceMost, silenceMost} {
		b.run(10*time.Second, 2, 3)
		ds, after := b.run(time.Minute, 3)
		b.want(ds, decideFence, 2)
		if after <= want-3*TickEvery || after > want+2*TickEvery {
			t.Errorf("fence %d after %v, want %v", i, after, want)
		}
		last = after
		ds, _ = b.run(time.Minute, 2, 3)
		b.want(ds, decideUnfence, 2)
	}
	b.run(forgiveAfter, 2, 3)
	if ds, after := b.run(time.Minute, 3); len(ds) != 1 || after >= last || after > silenceCalm+2*TickEvery {
		t.Errorf("not forgiven: %+v after %v", ds, after)
	}
}

// A broker whose process stood still was fenced rightly: that makes nobody patient, but calm it is not.
func TestFencesOfStoppedProcessesAreNotFalse(t *testing.T) {
	for _, pause := range []time.Duration{5 * time.Second, silence, silence - time.Millisecond, 0} {
		b := newBench(t, 3)
		b.run(2*calmAfter, 2, 3)
		ds, after := b.run(time.Minute, 3)
		b.want(ds, decideFence, 2)
		if after > silenceCalm+2*TickEvery {
			t.Errorf("the first fence came after %v", after)
		}
		b.s.heartbeat(b.now, &Heartbeat{BrokerID: 2, Epoch: epochOf + 2, Ready: true, Applied: 1000, PausedMs: pause.Milliseconds()})
		ds, _ = b.run(time.Minute, 2, 3)
		b.want(ds, decideUnfence, 2)
		b.run(10*time.Second, 2, 3)
		want := silence
		if pause < silence {
			want = silenceMost
		}
		ds, after = b.run(time.Minute, 3)
		b.want(ds, decideFence, 2)
		if after <= want-HeartbeatEvery-3*TickEvery || after > want+2*TickEvery {
			t.Errorf("after a pause of %v the next fence came after %v, want %v", pause, after, want)
		}
	}
}

func TestOwnPause(t *testing.T) {
	b := newBench(t, 3)
	b.run(2*time.Second, 2, 3)
	b.now += 20 * time.Second // this process did not run
	b.s.tick(b.now)
	if ds := b.decide(); ds != nil {
		t.Fatalf("%+v after an own pause", ds)
	}
	if ds, _ := b.run(5*time.Second, 2, 3); ds != nil {
		t.Fatalf("%+v after an own pause", ds)
	}
	for _, id := range []int32{2, 3} {
		if b.s.all[id].late > time.Hour {
			t.Errorf("the own pause counts as lateness of broker %d", id)
		}
	}
}

func TestHalfSilentHandsOver(t *testing.T) {
	b := newBench(t, 5)
	b.run(time.Second, 2, 3, 4, 5)
	ds, _ := b.run(time.Minute, 2)
	b.want(ds, decideHandOver, 1)
	again, after := b.run(time.Minute, 2)
	b.want(again, decideHandOver, 1)
	if after < handOverEvery {
		t.Errorf("handed over again after %v", after)
	}
	// Two of five are silent: fenced, one after the other.
	b = newBench(t, 5)
	b.run(time.Second, 2, 3, 4, 5)
	ds, _ = b.run(time.Minute, 2, 3)
	b.want(ds, decideFence, 4)
	ds, after = b.run(time.Minute, 2, 3)
	b.want(ds, decideFence, 5)
	if after < fenceEvery {
		t.Errorf("the second fence came %v after the first", after)
	}
}

// TestSessionsAtRandom checks what must hold whatever happens.
func TestSessionsAtRandom(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		n := 1 + rng.IntN(5)
		b := newBench(t, n)
		next, alive, ended := map[int32]time.Duration{}, map[int32]bool{}, map[int32]bool{}
		heard, inTime, lastFence := map[int32]time.Duration{}, map[int32]int{}, time.Duration(0)
		for id := int32(1); id <= int32(n); id++ {
			alive[id], heard[id] = true, b.now
		}
		for range 600 {
			step := TickEvery
			if rng.IntN(100) == 0 {
				step = time.Duration(rng.IntN(6000)) * time.Millisecond
			}
			b.now += step
			if id := 1 + int32(rng.IntN(n)); rng.IntN(40) == 0 && !ended[id] {
				alive[id] = !alive[id]
			}
			if id := 1 + int32(rng.IntN(n)); rng.IntN(300) == 0 && id != 1 {
				ended[id], alive[id] = true, false
				b.s.ended(id, uint64(100+id))
			}
			for id := int32(1); id <= int32(n); id++ {
				if alive[id] && b.now >= next[id] {
					if b.now-heard[id] > HeartbeatEvery+lateBy {
						inTime[id] = 0
					}
					b.beat(id)
					inTime[id]++
					next[id], heard[id] = b.now+HeartbeatEvery+time.Duration(rng.IntN(700))*time.Millisecond, b.now
				}
			}
			b.s.tick(b.now)
			wasFenced := map[int32]bool{}
			for id, f := range b.fenced {
				wasFenced[id] = f
			}
			for _, d := range b.decide() {
				switch {
				case d.kind == decideFence && d.broker == 1:
					t.Fatalf("seed %d: the controller fenced its own broker", seed)
				case d.kind == decideFence && !ended[d.broker]:
					if b.now-heard[d.broker] <= silenceCalm {
						t.Fatalf("seed %d: broker %d fenced %v after a heartbeat", seed, d.broker, b.now-heard[d.broker])
					}
					if lastFence != 0 && b.now-lastFence < fenceEvery {
						t.Fatalf("seed %d: two silent brokers fenced within %v", seed, b.now-lastFence)
					}
					lastFence = b.now
				case d.kind == decideUnfence && (inTime[d.broker] < 1 || !wasFenced[d.broker]):
					t.Fatalf("seed %d: broker %d unfenced after %d heartbeats, fenced %t", seed, d.broker, inTime[d.broker], wasFenced[d.broker])
				}
			}
		}
		// In the end all that live are well, and all others fenced.
		var living []int32
		for id := int32(1); id <= int32(n); id++ {
			if !ended[id] {
				living = append(living, id)
			}
		}
		for range 40 {
			b.run(time.Second, living...)
		}
		for id := int32(1); id <= int32(n); id++ {
			if b.im.Broker(id).Fenced != ended[id] {
				t.Fatalf("seed %d: broker %d of %d, ended %t, is fenced %t", seed, id, n, ended[id], b.im.Broker(id).Fenced)
			}
		}
	}
}

// A broker that registered without service and has gone is still in its ISRs: it is fenced once more, once.
func TestGoneWhileJoining(t *testing.T) {
	c, log := trio(t, "2")
	if err := restart(t, c, 3, 3, true); err != nil {
		t.Fatal(err)
	}
	s, now := newSessions(1), time.Hour
	s.begin(now, log.Image(), 0, 0)
	s.ended(3, NonceOf(log.Image().Broker(3).Incarnation))
	s.tick(now + TickEvery)
	ds := s.take()
	if len(ds) != 1 || ds[0].kind != decideFence || ds[0].broker != 3 {
		t.Fatalf("decided %+v", ds)
	}
	fence(t, c, log, 3)
	wantPartition(t, "3 went", theOne(log), 1, []int32{1, 2}, nil)
	s.left(3, epochOfBroker(log, 3))
	s.tick(now + 10*TickEvery)
	if ds := s.take(); len(ds) != 0 {
		t.Errorf("decided again: %+v", ds)
	}
}

// The silence for which a controller has lost its lead was seen by a majority: it counts for its broker too. A sign of life ends that.
func TestDeposedLeader(t *testing.T) {
	const silent = 1200 * time.Millisecond
	began := func(silent time.Duration) *bench {
		b := &bench{t: t, s: newSessions(1), now: time.Hour, fenced: map[int32]bool{}}
		b.im = image(t, 3, nil)
		b.s.begin(b.now, b.im, 2, silent)
		return b
	}
	fencedAfter := func(name string, b *bench, want time.Duration) {
		t.Helper()
		ds, after := b.run(time.Minute, 3)
		b.want(ds, decideFence, 2)
		if after <= want || after > want+3*TickEvery {
			t.Errorf("%s: fenced after %v, want %v", name, after, want)
		}
	}
	fencedAfter("silent", began(silent), silenceCalm-silent)
	fencedAfter("silent for long", began(time.Hour), 0)
	fencedAfter("not silent: it gave the lead away", began(HeartbeatEvery), silence)

	b := began(silent)
	b.beat(2)
	fencedAfter("a heartbeat", b, silence)

	b = began(silent)
	b.now += TickEvery
	b.s.heardOf(b.now, 2, 50*time.Millisecond)
	fencedAfter("anything else of it", b, silenceCalm-50*time.Millisecond)
	b = began(silent)
	b.s.heardOf(b.now, 3, time.Minute) // another one: it is not asked for, and not silenced
	if ids := b.s.deposed(); len(ids) != 1 || ids[0] != 2 {
		t.Errorf("deposed: %v", ids)
	}
	fencedAfter("another one is silent too", b, silenceCalm-silent)

	b = began(silent)
	b.s.begin(b.now, b.im, 1, time.Hour) // this node itself
	if ds, _ := b.run(5*time.Second, 2, 3); ds != nil {
		t.Errorf("%+v", ds)
	}
}

// A controller that has slept gives everybody the time that it slept, but does not take itself for one that a majority is with: it may have
// been replaced meanwhile, and its own broker would go on to lead.
func TestASleeperHasNoMajority(t *testing.T) {
	b := newBench(t, 3)
	b.run(5*time.Second, 2, 3)
	voters := []metadata.Voter{{NodeID: 1}, {NodeID: 2}, {NodeID: 3}}
	if n := b.s.heardFrom(b.now, majorityWithin, voters); n != 3 {
		t.Fatalf("heard from %d of 3", n)
	}
	b.now += 5 * time.Second
	b.s.tick(b.now)
	if ds := b.decide(); ds != nil {
		t.Errorf("%+v after its own sleep", ds)
	}
	if n := b.s.heardFrom(b.now, majorityWithin, voters); n != 1 {
		t.Errorf("heard from %d while it slept", n)
	}
	b.beat(2)
	if n := b.s.heardFrom(b.now, majorityWithin, voters); n != 2 {
		t.Errorf("heard from %d since", n)
	}
}
