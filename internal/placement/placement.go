package placement

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Errors of Assign.
var (
	// ErrTooFewBrokers: fewer brokers are registered than replicas are wanted.
	ErrTooFewBrokers = errors.New("too few brokers")
	// ErrNoLiveBroker: nothing could lead.
	ErrNoLiveBroker = errors.New("no live broker")
	// ErrArgument: a number of partitions or replicas below one.
	ErrArgument = errors.New("invalid number of partitions or replicas")
)

// Broker is a candidate.
type Broker struct {
	ID   int32
	Rack string // "" for none; such brokers count as one rack
	Live bool
}

// node is a broker with what this call has given it.
type node struct {
	Broker
	turn     int // place in the rotation, which breaks ties
	replicas int
	leaders  int
	taken    bool // by the partition at hand
}

// Assign chooses the replicas of so many new partitions, each list beginning with the leader. start rotates the choice, so that
// calls for one partition each (with start rising) spread too.
func Assign(brokers []Broker, partitions, replicas, start int) ([][]int32, error) {
	if partitions < 1 || replicas < 1 || start < 0 {
		return nil, fmt.Errorf("assign %d partitions of %d replicas: %w", partitions, replicas, ErrArgument)
	}
	if len(brokers) < replicas {
		return nil, fmt.Errorf("assign %d replicas to %d brokers: %w", replicas, len(brokers), ErrTooFewBrokers)
	}
	nodes := candidates(brokers, replicas)
	if len(nodes) == 0 {
		return nil, fmt.Errorf("assign %d replicas: %w", replicas, ErrNoLiveBroker)
	}
	lists := make([][]int32, partitions)
	backing := make([]int32, 0, partitions*replicas)
	racks := make(map[string]int)
	for p := range lists {
		clear(racks)
		for i := range nodes {
			nodes[i].taken = false
		}
		first := len(backing)
		for r := range replicas {
			n := choose(nodes, racks, r == 0, start+p)
			n.taken = true
			n.replicas++
			if r == 0 {
				n.leaders++
			}
			racks[n.Rack]++
			backing = append(backing, n.ID)
		}
		lists[p] = backing[first:len(backing):len(backing)]
	}
	return lists, nil
}

// candidates are the live brokers, and as many of the others as are needed, in an order that alternates racks. It is empty when none is
// live.
func candidates(brokers []Broker, replicas int) []node {
	sorted := slices.SortedFunc(slices.Values(brokers), func(a, b Broker) int { return cmp.Compare(a.ID, b.ID) })
	var live, down []Broker
	for _, b := range sorted {
		if b.Live {
			live = append(live, b)
		} else {
			down = append(down, b)
		}
	}
	if len(live) == 0 {
		return nil
	}
	chosen := alternate(live)
	if missing := replicas - len(chosen); missing > 0 {
		chosen = append(chosen, alternate(down)[:missing]...)
	}
	nodes := make([]node, len(chosen))
	for i, b := range chosen {
		nodes[i] = node{Broker: b, turn: i}
	}
	return nodes
}

// alternate orders brokers so that neighbours are in different racks as far as possible: the first of each rack, the second of each...
func alternate(brokers []Broker) []Broker {
	nth := make(map[string]int)
	type placed struct {
		Broker
		round int
	}
	var all []placed
	for _, b := range brokers {
		all = append(all, placed{b, nth[b.Rack]})
		nth[b.Rack]++
	}
	slices.SortStableFunc(all, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.round, b.round), cmp.Compare(a.Rack, b.Rack))
	})
	out := make([]Broker, len(all))
	for i, p := range all {
		out[i] = p.Broker
	}
	return out
}

// choose takes the best broker for the next replica: for a leader the live one that leads least, for a follower one in the rack that
// has the fewest replicas of the partition; then the one that holds least, then the next in turn.
func choose(nodes []node, racks map[string]int, leader bool, turn int) *node {
	var best *node
	better := func(a, b *node) bool {
		if leader {
			if a.Live != b.Live {
				return a.Live
			}
			if a.leaders != b.leaders {
				return a.leaders < b.leaders
			}
		} else if racks[a.Rack] != racks[b.Rack] {
			return racks[a.Rack] < racks[b.Rack]
		}
		if a.replicas != b.replicas {
			return a.replicas < b.replicas
		}
		n := len(nodes)
		return (a.turn-turn%n+n)%n < (b.turn-turn%n+n)%n
	}
	for i := range nodes {
		if n := &nodes[i]; !n.taken && (best == nil || better(n, best)) {
			best = n
		}
	}
	return best
}
