package nemesis

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// The model of one key. Answers of the controller (create, delete, alter, probe) are linearizable. A broker's own answers (lookup, read)
// may lag, but show a state that was there, and for one client at one broker process never an older one than it was shown or told of
// before: a reply is held back until the broker's own image shows it, for a second at most.

// version is a state of the topic between two changes.
type version struct {
	exists bool
	bound  bool // id is known
	id     [16]byte
	value  int64
}

// maxClients bounds the clients whose sessions a state holds.
const maxClients = 12

// seat is how far a client's broker has shown the versions to it.
type seat struct {
	session int64
	version int
}

// state is all versions so far, and what each client has seen of them. It is not changed once made.
type state struct {
	versions []version
	seats    [maxClients]seat
}

var keyModel = porcupine.Model{
	Init: func() any { return &state{versions: []version{{bound: true}}} },
	Step: func(s, in, _ any) (bool, any) {
		next := s.(*state).step(in.(*op))
		return next != nil, next
	},
	Equal: func(a, b any) bool {
		x, y := a.(*state), b.(*state)
		return x.seats == y.seats && slices.Equal(x.versions, y.versions)
	},
	Hash: func(s any) uint64 {
		h := fnv.New64a()
		for _, v := range s.(*state).versions {
			b := binary.LittleEndian.AppendUint64(append([]byte{}, v.id[:8]...), uint64(v.value)<<1|uint64(b2i(v.exists)))
			_, _ = h.Write(b)
		}
		return h.Sum64()
	},
	DescribeOperation: func(in, _ any) string { return in.(*op).String() },
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// step is the state after an operation, nil if it cannot happen now.
func (s *state) step(o *op) *state {
	now := s.versions[len(s.versions)-1]
	switch o.kind {
	case create:
		return s.create(o, now)
	case remove:
		return s.remove(o, now)
	case alter:
		switch {
		case o.result == absent && !now.exists, o.result == unknown && !now.exists:
			return s.told(o)
		case o.result == absent || !now.exists:
			return nil
		}
		now.value = o.value
		return s.push(now).told(o)
	case probe:
		if (o.result == exists) != now.exists {
			return nil
		}
		return s.told(o)
	}
	return s.shown(o)
}

func (s *state) create(o *op, now version) *state {
	switch {
	case o.result == exists && now.exists, o.result == unknown && now.exists:
		return s.told(o)
	case o.result == exists || now.exists:
		return nil
	}
	if o.result == done && slices.ContainsFunc(s.versions, func(v version) bool { return v.exists && v.bound && v.id == o.id }) {
		return nil // an id is given once
	}
	return s.push(version{exists: true, bound: o.result == done, id: o.id, value: o.value}).told(o)
}

func (s *state) remove(o *op, now version) *state {
	switch {
	case o.result == absent && !now.exists, o.result == unknown && !now.exists:
		return s.told(o)
	case o.result == absent || !now.exists:
		return nil
	case o.result == done && now.bound && now.id != o.id:
		return nil
	}
	if o.result == done && !now.bound {
		s = s.bind(len(s.versions)-1, o.id)
	}
	if s == nil {
		return nil
	}
	return s.push(version{bound: true}).told(o)
}

// shown is an answer of a broker: the first version that fits and is not older than what the client has seen there.
func (s *state) shown(o *op) *state {
	from := 0
	if seat := s.seats[o.client]; seat.session == o.session {
		from = seat.version
	}
	if o.latest {
		from = len(s.versions) - 1
	}
	for i := from; i < len(s.versions); i++ {
		v := s.versions[i]
		switch {
		case (o.result == absent) == v.exists:
			continue
		case o.result == absent:
			return s.sit(o, i)
		case o.kind == read && v.value == o.read:
			return s.sit(o, i)
		case o.kind == lookup && v.bound && v.id == o.id:
			return s.sit(o, i)
		case o.kind == lookup && !v.bound:
			if next := s.bind(i, o.id); next != nil {
				return next.sit(o, i)
			}
		}
	}
	return nil
}

// bind gives a topic whose creation was not answered the id that was seen of it, in all its versions.
func (s *state) bind(i int, id [16]byte) *state {
	for _, v := range s.versions {
		if v.exists && v.bound && v.id == id {
			return nil
		}
	}
	next := *s
	next.versions = slices.Clone(s.versions)
	for from := i; from >= 0 && next.versions[from].exists && !next.versions[from].bound; from-- {
		next.versions[from].id, next.versions[from].bound = id, true
	}
	for to := i + 1; to < len(next.versions) && next.versions[to].exists && !next.versions[to].bound; to++ {
		next.versions[to].id, next.versions[to].bound = id, true
	}
	return &next
}

func (s *state) push(v version) *state {
	next := *s
	next.versions = append(slices.Clip(s.versions), v)
	return &next
}

// told notes that a client was answered by the controller through a broker that shows what the answer tells of.
func (s *state) told(o *op) *state {
	if !o.shown {
		return s
	}
	return s.sit(o, len(s.versions)-1)
}

func (s *state) sit(o *op, i int) *state {
	if o.latest {
		return s
	}
	if seat := s.seats[o.client]; seat.session == o.session && seat.version >= i {
		return s
	}
	next := *s
	next.seats[o.client] = seat{o.session, i}
	return &next
}

// TestModel shows that the model takes what may be and refuses each kind of lie.
func TestModel(t *testing.T) {
	a, b := [16]byte{0xa}, [16]byte{0xb}
	mk := func(client int, k kind, from, to int, r result) *op {
		return &op{client: client, session: 1, kind: k, call: time.Duration(from), ret: time.Duration(to), result: r}
	}
	with := func(o *op, f func(*op)) *op { f(o); return o }
	id := func(id [16]byte) func(*op) { return func(o *op) { o.id = id } }
	created := with(mk(0, create, 0, 10, done), id(a))
	deleted := with(mk(0, remove, 20, 30, done), id(a))
	set := func(from, to int, v int64, r result) *op {
		return with(mk(0, alter, from, to, r), func(o *op) { o.value = v })
	}
	got := func(client, from, to int, v int64) *op {
		return with(mk(client, read, from, to, done), func(o *op) { o.read = v })
	}
	shown := func(o *op) *op { return with(o, func(o *op) { o.shown = true }) }
	latest := func(o *op) *op { return with(o, func(o *op) { o.latest = true }) }
	seen := func(client, from, to int, x [16]byte) *op { return with(mk(client, lookup, from, to, done), id(x)) }
	for _, tc := range []struct {
		name string
		ops  []*op
		want porcupine.CheckResult
	}{
		{"created and deleted", []*op{created, deleted, mk(1, probe, 40, 50, absent)}, porcupine.Ok},
		{"an acknowledged creation is lost", []*op{created, mk(1, probe, 40, 50, absent)}, porcupine.Illegal},
		{"an acknowledged deletion is undone", []*op{created, deleted, mk(1, probe, 40, 50, exists)}, porcupine.Illegal},
		{"a refusal from the past", []*op{created, mk(1, create, 5, 50, exists), mk(1, create, 60, 70, exists), deleted}, porcupine.Illegal},
		{"created twice", []*op{created, with(mk(1, create, 11, 12, done), id(b))}, porcupine.Illegal},
		{"an id comes back", []*op{created, deleted, with(mk(1, create, 40, 50, done), id(a))}, porcupine.Illegal},
		{"deleted another one", []*op{created, with(mk(1, remove, 20, 30, done), id(b))}, porcupine.Illegal},
		{"a deletion of unknown outcome happened", []*op{created, mk(1, remove, 11, 12, unknown), mk(2, probe, 20, 30, absent)}, porcupine.Ok},
		{"a deletion of unknown outcome happens late", []*op{created, mk(1, remove, 11, 12, unknown), mk(2, probe, 20, 30, exists), mk(2, probe, 40, 50, absent)}, porcupine.Ok},
		{"it happens once", []*op{created, mk(1, remove, 11, 12, unknown), mk(2, probe, 20, 30, absent), mk(2, probe, 40, 50, exists)}, porcupine.Illegal},
		{"a creation of unknown outcome is seen", []*op{mk(0, create, 0, 1, unknown), seen(1, 20, 30, a), with(mk(2, remove, 40, 50, done), id(a))}, porcupine.Ok},
		{"with two ids", []*op{mk(0, create, 0, 1, unknown), seen(1, 20, 30, a), seen(1, 40, 50, b)}, porcupine.Illegal},
		{"a broker lags", []*op{created, deleted, seen(1, 40, 50, a)}, porcupine.Ok},
		{"a broker goes back", []*op{created, deleted, mk(1, lookup, 40, 50, absent), seen(1, 60, 70, a)}, porcupine.Ok}, // absent before the creation
		{"a broker goes back twice", []*op{created, seen(1, 11, 12, a), deleted, mk(1, lookup, 40, 50, absent), seen(1, 60, 70, a)}, porcupine.Illegal},
		{"after a start it may", []*op{created, seen(1, 11, 12, a), deleted, mk(1, lookup, 40, 50, absent), with(seen(1, 60, 70, a), func(o *op) { o.session = 2 })}, porcupine.Ok},
		{"the broker that answered does not show it", []*op{shown(with(mk(0, create, 0, 10, done), id(a))), mk(0, lookup, 20, 30, absent)}, porcupine.Illegal},
		{"another one may not", []*op{shown(with(mk(0, create, 0, 10, done), id(a))), mk(1, lookup, 20, 30, absent)}, porcupine.Ok},
		{"at rest it must", []*op{created, latest(mk(1, lookup, 20, 30, absent))}, porcupine.Illegal},
		{"deleted, and there at rest", []*op{created, deleted, latest(seen(1, 40, 50, a))}, porcupine.Illegal},
		{"a topic from nowhere", []*op{created, seen(1, 40, 50, b)}, porcupine.Illegal},
		{"a value", []*op{created, set(11, 12, 7, done), got(1, 20, 30, 7), latest(got(2, 40, 50, 7))}, porcupine.Ok},
		{"a value is lost", []*op{created, set(11, 12, 7, done), latest(got(2, 40, 50, 0))}, porcupine.Illegal},
		{"an old value is back", []*op{created, set(11, 12, 7, done), set(13, 14, 8, done), latest(got(2, 40, 50, 7))}, porcupine.Illegal},
		{"a value from nowhere", []*op{created, set(11, 12, 7, done), got(2, 40, 50, 9)}, porcupine.Illegal},
		{"a value of unknown outcome", []*op{created, set(11, 12, 7, unknown), got(1, 20, 30, 7)}, porcupine.Ok},
		{"which comes late", []*op{created, set(11, 12, 7, unknown), set(13, 14, 8, done), latest(got(1, 20, 30, 7))}, porcupine.Ok},
		{"but not before it was asked for", []*op{created, got(1, 12, 13, 7), set(14, 15, 7, unknown)}, porcupine.Illegal},
		{"what was refused did not happen", []*op{created, set(11, 12, 7, nothing), got(1, 20, 30, 7)}, porcupine.Illegal},
		{"a setting of no topic", []*op{created, deleted, set(40, 50, 7, done)}, porcupine.Illegal},
	} {
		if got := porcupine.CheckOperationsTimeout(keyModel, operations(tc.ops), time.Minute); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}
