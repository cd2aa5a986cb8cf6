package replica

import (
	"slices"

	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/metadata"
)

// Member is one broker that holds a replica, as an image shows it.
type Member struct {
	ID int32
	// BrokerEpoch names the incarnation that is registered; 0 for none.
	BrokerEpoch int64
	// Nonce is the boot nonce of that incarnation.
	Nonce uint64
	// Away brokers are fenced or about to stop: they are not taken into the ISR.
	Away bool
}

// View is what the cores know of a partition: its state in one image, with the brokers that hold it. It is not changed once made.
type View struct {
	Leader         int32
	LeaderEpoch    int32
	PartitionEpoch int32
	// UncleanEpoch is the leader epoch of the last unclean election, 0 for none.
	UncleanEpoch int32
	ISR, ELR     []int32
	// Members are the replicas in their order.
	Members []Member
	// MinISR is min.insync.replicas of the topic, at most the number of replicas.
	MinISR int
}

// NewView takes a partition's state out of an image.
func NewView(im *metadata.Image, topic string, p *metadata.Partition) *View {
	v := &View{Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch, UncleanEpoch: p.UncleanEpoch, ISR: p.ISR, ELR: p.ELR,
		Members: make([]Member, 0, len(p.Replicas)), MinISR: controller.MinISR(im, topic, len(p.Replicas))}
	for _, id := range p.Replicas {
		m := Member{ID: id, Away: true}
		if b := im.Broker(id); b != nil {
			m.BrokerEpoch, m.Away = b.Epoch, b.Fenced || b.Stopping
			m.Nonce = controller.NonceOf(b.Incarnation)
		}
		v.Members = append(v.Members, m)
	}
	return v
}

// member returns a replica's broker, or nil.
func (v *View) member(id int32) *Member {
	for i := range v.Members {
		if v.Members[i].ID == id {
			return &v.Members[i]
		}
	}
	return nil
}

func (v *View) inISR(id int32) bool { return slices.Contains(v.ISR, id) }

// counts reports whether records of the broker may count for what was acknowledged: it is in the ISR, or was and is eligible still.
func (v *View) counts(id int32) bool { return v.inISR(id) || slices.Contains(v.ELR, id) }

// Lineage is what the cores ask of a log: where it begins and ends, and which leader epochs its records are of.
type Lineage interface {
	Start() int64
	End() int64
	// EpochAt is the leader epoch of the record at an offset; false where there is none.
	EpochAt(offset int64) (epoch int32, ok bool)
	// EpochEnd is the largest epoch <= epoch and the offset where it ends; -1, -1 if epoch is above any known.
	EpochEnd(epoch int32) (found int32, end int64)
}

// epochBefore is the epoch of the record before offset; -1 where there is none, or it is deleted.
func epochBefore(l Lineage, offset int64) int32 {
	if offset <= l.Start() {
		return -1
	}
	epoch, ok := l.EpochAt(offset - 1)
	if !ok {
		return -1
	}
	return epoch
}
