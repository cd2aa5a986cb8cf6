package group

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"
)

// rig drives one machine with a clock and a log of its own.
type rig struct {
	t        *testing.T
	m        *machine
	cfg      Config
	log      []record      // what was appended, in order
	inflight []func(error) // appends that are not durable yet
	hold     bool          // do not make appends durable by themselves
	refuse   error         // refuse appends
	ids      int

	batchEnds []int // where in log the appends in flight end
}

// got is an answer, or none yet.
type got[T any] struct {
	v    T
	err  error
	done bool
}

func newRig(t *testing.T, cfg Config) *rig {
	if cfg.MinSessionTimeout == 0 {
		cfg.MinSessionTimeout = time.Second
	}
	r := &rig{t: t, cfg: cfg.withDefaults()}
	r.m = r.machine()
	return r
}

func (r *rig) machine() *machine {
	m := newMachine(&r.cfg, slog.New(slog.DiscardHandler), &usage{}, func() string {
		r.ids++
		return fmt.Sprintf("%04d", r.ids)
	})
	m.now = time.UnixMilli(1_700_000_000_000)
	m.append = func(records []record, done func(error)) error {
		if r.refuse != nil {
			return r.refuse
		}
		for _, rec := range records {
			r.log = append(r.log, record{append([]byte{}, rec.key...), clone(rec.value)})
		}
		r.inflight = append(r.inflight, done)
		r.batchEnds = append(r.batchEnds, len(r.log))
		return nil
	}
	return m
}

func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

// settle makes all appends durable, unless they are held.
func (r *rig) settle() {
	for !r.hold && len(r.inflight) > 0 {
		done := r.inflight[0]
		r.inflight = r.inflight[1:]
		done(nil)
	}
}

// durable makes the oldest append durable.
func (r *rig) durable(err error) {
	r.t.Helper()
	if len(r.inflight) == 0 {
		r.t.Fatal("nothing in flight")
	}
	done := r.inflight[0]
	r.inflight = r.inflight[1:]
	done(err)
}

// pass lets time go by, firing timers when they are due.
func (r *rig) pass(d time.Duration) {
	end := r.m.now.Add(d)
	for {
		at, ok := r.m.timers.next()
		if !ok || at.After(end) {
			break
		}
		if at.After(r.m.now) {
			r.m.now = at
		}
		r.m.tick()
		r.settle()
	}
	r.m.now = end
}

// reload replaces the machine by one loaded from the log.
func (r *rig) reload() {
	r.t.Helper()
	now := r.m.now
	r.m.drop(ErrNotCoordinator)
	m := r.machine()
	m.now = now
	l := newLoader(m)
	for i, rec := range r.log {
		if err := l.add(rec.key, rec.value); err != nil {
			r.t.Fatalf("record %d: %v", i, err)
		}
	}
	r.m, r.inflight = l.finish(), nil
	r.m.shrink()
}

func collect[T any](r *rig, fn func(*reply[T])) *got[T] {
	g := &got[T]{}
	fn(&reply[T]{fn: func(v T, err error) {
		if g.done {
			r.t.Fatal("answered twice")
		}
		g.v, g.err, g.done = v, err, true
	}})
	r.settle()
	return g
}

// aJoin is a join of a dynamic consumer that knows version 9 and supports "range".
func aJoin(group, member string) *JoinRequest {
	return &JoinRequest{Group: group, MemberID: member, Client: Client{ID: "c", Host: "/127.0.0.1"}, ProtocolType: "consumer",
		Protocols: []Protocol{{"range", subscription("t")}}, SessionTimeout: 10 * time.Second, RebalanceTimeout: 30 * time.Second,
		RequireKnownMember: true, CanSkipAssignment: true}
}

// oldJoin is a join of a client that gets its member id with the answer.
func oldJoin(group, member string) *JoinRequest {
	j := aJoin(group, member)
	j.RequireKnownMember, j.CanSkipAssignment = false, false
	return j
}

func static(j *JoinRequest, instance string) *JoinRequest {
	j.InstanceID, j.RequireKnownMember = instance, false
	return j
}

func protocols(j *JoinRequest, names ...string) *JoinRequest {
	j.Protocols = nil
	for _, n := range names {
		j.Protocols = append(j.Protocols, Protocol{n, subscription("t")})
	}
	return j
}

func subscription(topics ...string) []byte {
	b := []byte{0, 1, 0, 0, 0, byte(len(topics))}
	for _, t := range topics {
		b = append(b, 0, byte(len(t)))
		b = append(b, t...)
	}
	return append(b, 0xff, 0xff, 0xff, 0xff)
}

func (r *rig) join(j *JoinRequest) *got[JoinResult] {
	return collect(r, func(rep *reply[JoinResult]) { r.m.join(j, rep) })
}

func (r *rig) sync(group, member string, generation int32, assignments ...Assignment) *got[SyncResult] {
	return collect(r, func(rep *reply[SyncResult]) {
		r.m.sync(&SyncRequest{Group: group, MemberID: member, Generation: generation, Assignments: assignments}, rep)
	})
}

func (r *rig) beat(group, member string, generation int32) error {
	err := r.m.heartbeat(&HeartbeatRequest{Group: group, MemberID: member, Generation: generation})
	r.settle()
	return err
}

func (r *rig) leave(group string, members ...LeaveMember) *got[[]error] {
	return collect(r, func(rep *reply[[]error]) { r.m.leave(group, members, rep) })
}

func (r *rig) commit(group, member string, generation int32, topic string, partition int32, offset int64) *got[[]error] {
	return collect(r, func(rep *reply[[]error]) {
		r.m.commit(&CommitRequest{Group: group, MemberID: member, Generation: generation, Retention: -1,
			Offsets: []CommitOffset{{Topic: topic, Partition: partition, Offset: offset, LeaderEpoch: -1}}}, rep)
	})
}

// committed is the committed offset of one partition; -1 for none.
func (r *rig) committed(group, topic string, partition int32) int64 {
	r.t.Helper()
	g := collect(r, func(rep *reply[[]TopicOffsets]) {
		r.m.fetch(group, []TopicPartitions{{topic, []int32{partition}}}, rep)
	})
	if !g.done || g.err != nil {
		r.t.Fatalf("fetch: done %v, %v", g.done, g.err)
	}
	return g.v[0].Partitions[0].Offset
}

// stable makes a group with n members that have their assignments, and returns their ids; the first leads.
func (r *rig) stable(group string, n int) (ids []string, generation int32) {
	r.t.Helper()
	var waits []*got[JoinResult]
	for i := range n {
		first := r.join(aJoin(group, ""))
		if !errors.Is(first.err, ErrMemberIDRequired) {
			r.t.Fatalf("first join: %+v", first)
		}
		ids = append(ids, first.v.MemberID)
		waits = append(waits, r.join(aJoin(group, ids[i])))
	}
	if n > 1 { // the first had the generation for itself
		waits[0] = r.join(aJoin(group, ids[0]))
	}
	r.pass(5 * time.Second)
	for i, w := range waits {
		if !w.done || w.err != nil {
			r.t.Fatalf("member %d: %+v", i, w)
		}
		generation = w.v.Generation
	}
	var list []Assignment
	for _, id := range ids {
		list = append(list, Assignment{id, []byte("for " + id)})
	}
	if s := r.sync(group, ids[0], generation, list...); s.err != nil || !s.done {
		r.t.Fatalf("leader sync: %+v", s)
	}
	for _, id := range ids[1:] {
		if s := r.sync(group, id, generation); !s.done || s.err != nil || string(s.v.Assignment) != "for "+id {
			r.t.Fatalf("sync of %s: %+v", id, s)
		}
	}
	r.wantState(group, Stable)
	return ids, generation
}

func (r *rig) wantState(group string, s State) {
	r.t.Helper()
	d, err := r.m.describe(group)
	if s == Dead {
		if !errors.Is(err, ErrGroupNotFound) {
			r.t.Fatalf("group %s is %v, want none", group, d.State)
		}
		return
	}
	if err != nil || d.State != s {
		r.t.Fatalf("group %s is %v (%v), want %v", group, d.State, err, s)
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) || (want == nil && got != nil) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

func wantWaiting[T any](t *testing.T, what string, g *got[T]) {
	t.Helper()
	if g.done {
		t.Fatalf("%s is answered: %+v", what, g)
	}
}

func wantAnswer[T any](t *testing.T, what string, g *got[T], want error) {
	t.Helper()
	if !g.done {
		t.Fatalf("%s is not answered", what)
	}
	wantErr(t, what, g.err, want)
}
