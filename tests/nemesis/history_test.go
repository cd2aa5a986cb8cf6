package nemesis

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// kind is what a client asks for.
type kind int

const (
	create kind = iota // a topic, with a value
	remove             // the topic
	alter              // the topic's value
	probe              // CreateTopics, validate only: whether the controller says that there is such a topic
	lookup             // Metadata of one broker
	read               // DescribeConfigs of one broker
)

// result is what a client was told.
type result int

const (
	done    result = iota // done, or for probe, lookup and read: there is the topic
	absent                // there is no such topic
	exists                // there is one already
	nothing               // not done, and never will be
	unknown               // no answer, or one that says that nobody knows
)

// op is one operation of a client. Times are since the start of the run.
type op struct {
	key       string
	client    int
	session   int64 // process of the broker that was asked
	kind      kind
	value     int64 // written by create and alter; 0 is none
	call, ret time.Duration
	result    result
	id        [16]byte // told by create, remove and lookup
	read      int64    // told by read
	shown     bool     // the broker shows its answer from now on: it had the time for it
	latest    bool     // asked of a cluster at rest, which must have it all
}

func (o *op) String() string {
	names := [...]string{"create", "delete", "alter", "probe", "lookup", "read"}
	results := [...]string{"done", "absent", "exists", "not done", "unknown"}
	return fmt.Sprintf("[%8.1f %8.1f] client %d session %d %s value %d: %s id %.6x read %d shown %v latest %v", o.call.Seconds()*1000,
		o.ret.Seconds()*1000, o.client, o.session, names[o.kind], o.value, results[o.result], o.id, o.read, o.shown, o.latest)
}

// history is all operations on the keys of one generation.
type history struct {
	mu  sync.Mutex
	ops []*op
}

func (h *history) add(o *op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, o)
}

// byKey splits the history.
func (h *history) byKey() map[string][]*op {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := map[string][]*op{}
	for _, o := range h.ops {
		m[o.key] = append(m[o.key], o)
	}
	return m
}

// operations makes porcupine's history of one key. What certainly was not done is left out, and so are reads without an answer and changes
// of unknown outcome to a value that nobody ever read: with them or without them the rest is as possible. What was read is known to have
// happened before the end of the read.
func operations(ops []*op) []porcupine.Operation {
	firstSeen := map[int64]time.Duration{}
	for _, o := range ops {
		if o.kind == read && o.result == done && o.read != 0 {
			if at, ok := firstSeen[o.read]; !ok || o.ret < at {
				firstSeen[o.read] = o.ret
			}
		}
	}
	var out []porcupine.Operation
	for _, o := range ops {
		ret := int64(o.ret)
		switch {
		case o.result == nothing:
			continue
		case o.result == unknown:
			if o.kind == probe || o.kind == lookup || o.kind == read {
				continue
			}
			ret = math.MaxInt64
			seen, ok := firstSeen[o.value]
			if ok {
				ret = int64(max(seen, o.call))
			} else if o.kind == alter {
				continue
			}
		}
		out = append(out, porcupine.Operation{ClientId: o.client, Input: o, Output: o, Call: int64(o.call), Return: ret})
	}
	slices.SortFunc(out, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	return out
}
