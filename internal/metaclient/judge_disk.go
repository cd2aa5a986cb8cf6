package metaclient

import (
	"fmt"
	"maps"
	"slices"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/chronik-io/chronik/internal/cli"
)

// This file tells of nodes that take no records because their disk is full. Only Chronik's nodes say so.

// full reports whether a node says that it takes no records because of its disk.
func (n *Node) full() bool { return n.info != nil && n.info.DiskFull }

// judgeDisks tells of every node whose disk is full. Records are accepted nowhere where that is so of all nodes that are up.
func (s *Status) judgeDisks(f *facts) {
	up, full := 0, []*Node{}
	for _, id := range slices.Sorted(maps.Keys(f.nodes)) {
		if n := f.nodes[id]; n.State == NodeUp {
			up++
			if n.full() {
				full = append(full, n)
			}
		}
	}
	severity := Degraded
	if len(full) == up {
		severity = Unavailable
	}
	for _, n := range full {
		effect := ""
		if severity == Degraded && n.Leaders > 0 {
			effect = fmt.Sprintf("; those for the %s that it leads are refused", plural(n.Leaders, "partition"))
		}
		s.add(severity, fmt.Sprintf("node %d takes no records: its disk is full%s%s", n.ID, space(n.info), effect),
			fmt.Sprintf("free space on node %d's disk or enlarge it; records are accepted again by themselves (docs/operations.md, Full disk)", n.ID))
	}
}

// space is how full a full disk is, as far as its node knows, in brackets.
func space(i *chronikapi.NodeInfoResponse) string {
	switch {
	case i.FreeBytes < 0:
		return fmt.Sprintf(" (min_free_bytes %s)", cli.Bytes(i.MinFreeBytes))
	case i.FreeBytes >= i.MinFreeBytes: // a quota, or one of several writes at once
		return fmt.Sprintf(" (a write found no space; %s free, min_free_bytes %s)", cli.Bytes(i.FreeBytes), cli.Bytes(i.MinFreeBytes))
	}
	return fmt.Sprintf(" (%s free, min_free_bytes %s)", cli.Bytes(i.FreeBytes), cli.Bytes(i.MinFreeBytes))
}
