package placement

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestProperties draws clusters and holds the package's invariants on each assignment.
func TestProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		n := 1 + rng.IntN(9)
		brokers := make([]Broker, n)
		live, racks := 0, map[string]int{}
		for i := range brokers {
			brokers[i] = Broker{ID: int32(i * 3), Rack: string(rune('a' + rng.IntN(3))), Live: rng.IntN(5) > 0}
			if brokers[i].Live {
				live++
				racks[brokers[i].Rack]++
			}
		}
		partitions, rf, start := 1+rng.IntN(40), 1+rng.IntN(n), rng.IntN(1000)
		lists, err := Assign(brokers, partitions, rf, start)
		if live == 0 {
			if !errors.Is(err, ErrNoLiveBroker) {
				t.Fatalf("no broker is live: %v", err)
			}
			continue
		}
		if err != nil || len(lists) != partitions {
			t.Fatal(lists, err)
		}
		check(t, brokers, lists, rf, live, racks)
		shuffled := slices.Clone(brokers)
		rng.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		again, _ := Assign(shuffled, partitions, rf, start)
		for p := range lists {
			if !slices.Equal(lists[p], again[p]) {
				t.Fatalf("the order of the brokers changes partition %d: %v, %v", p, lists[p], again[p])
			}
		}
	}
}

func check(t *testing.T, brokers []Broker, lists [][]int32, rf, live int, racks map[string]int) {
	t.Helper()
	by := map[int32]Broker{}
	for _, b := range brokers {
		by[b.ID] = b
	}
	leaders, held := map[int32]int{}, map[int32]int{}
	for p, l := range lists {
		seen := map[string]bool{}
		down := 0
		for i, id := range l {
			if slices.Contains(l[:i], id) {
				t.Fatalf("partition %d has broker %d twice: %v", p, id, l)
			}
			if !by[id].Live {
				down++
			} else {
				seen[by[id].Rack] = true
			}
			held[id]++
		}
		if len(l) != rf || !by[l[0]].Live {
			t.Fatalf("partition %d: %v, leader live %t, want %d replicas", p, l, by[l[0]].Live, rf)
		}
		if down != max(0, rf-live) {
			t.Fatalf("partition %d: %d replicas are down of %v, %d brokers live", p, down, l, live)
		}
		if down == 0 && len(seen) != min(rf, len(racks)) {
			t.Fatalf("partition %d: %v is in %d racks of %d", p, l, len(seen), len(racks))
		}
		leaders[l[0]]++
	}
	even := true
	for _, n := range racks {
		even = even && n*len(racks) == live
	}
	for name, m := range map[string]map[int32]int{"leads": leaders, "holds": held} {
		least, most := 1<<30, 0
		for _, b := range brokers {
			if b.Live {
				least, most = min(least, m[b.ID]), max(most, m[b.ID])
			}
		}
		if name == "leads" && most-least > 1 || even && rf <= live && most-least > 2 {
			t.Fatalf("one broker %s %d, another %d: %v of %v", name, most, least, lists, brokers)
		}
	}
}

func TestSinglePartitionsSpread(t *testing.T) {
	brokers := []Broker{{1, "a", true}, {2, "b", true}, {3, "c", true}}
	leaders := map[int32]int{}
	for start := range 30 {
		lists, err := Assign(brokers, 1, 2, start)
		if err != nil {
			t.Fatal(err)
		}
		leaders[lists[0][0]]++
	}
	for id, n := range leaders {
		if n != 10 {
			t.Errorf("broker %d leads %d of 30 topics", id, n)
		}
	}
}

func TestErrors(t *testing.T) {
	one := []Broker{{1, "", true}}
	tests := []struct {
		brokers              []Broker
		partitions, replicas int
		want                 error
	}{{one, 1, 2, ErrTooFewBrokers}, {one, 0, 1, ErrArgument}, {one, 1, 0, ErrArgument}, {nil, 1, 1, ErrTooFewBrokers},
		{[]Broker{{1, "", false}}, 1, 1, ErrNoLiveBroker}, {one, 1, 1, nil}}
	for _, tt := range tests {
		if _, err := Assign(tt.brokers, tt.partitions, tt.replicas, 0); !errors.Is(err, tt.want) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
