package node

import (
	"errors"
	"fmt"

	"github.com/chronik-io/chronik/internal/membership"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/wal"
)

// withHint adds to an error of the start what can be done about it, where it is damage of the data directory.
func (n *Node) withHint(err error) error {
	return damageHint(err, len(n.genesis.Founders) > 1)
}

func damageHint(err error, others bool) error {
	damage := false
	for _, is := range []error{wal.ErrCorrupt, metalog.ErrDamaged, partition.ErrCorrupt, membership.ErrCorrupt} {
		damage = damage || errors.Is(err, is)
	}
	switch {
	case !damage:
		return err
	case others:
		return fmt.Errorf("%w. Nothing was cut. The other nodes go on without this one, which tolerates no further failure; they refuse an older copy of its directory, so "+
			"only a copy of the damaged files from its last stop helps: see docs/operations.md, Damage", err)
	}
	return fmt.Errorf("%w. Nothing was cut. Copy the data directory, then restore all of it from a backup, or the damaged file from a copy of the same moment: "+
		"see docs/operations.md, Damage", err)
}
