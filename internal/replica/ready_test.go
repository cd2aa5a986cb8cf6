package replica

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/peer"
	"github.com/chronik-io/chronik/internal/uuid"
)

// A follower that started again refuses while its own metadata does not show its registration, which the leader's does. The leader epoch is
// the same before and after: being registered is what makes it ready, and the leader must hear of it.
func TestFollowerLearnsLastOfItsRegistration(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	leader := n.replica(1, id)
	if err := ended(t, n.produce(leader, "a", true)); err != nil {
		t.Fatal(err)
	}
	n.stop(3)
	n.until("the ISR is without node 3", func() bool { return !slices.Contains(n.isr("t"), 3) })
	n.mu.Lock()
	n.nodes[3].lag = true
	n.mu.Unlock()
	n.start(3)
	n.until("node 3 has refused", func() bool {
		leader.mu.Lock()
		defer leader.mu.Unlock()
		f := leader.leading.follower(3)
		return f.connected && f.next < 0
	})
	n.mu.Lock()
	n.nodes[3].lag = false
	n.show(n.nodes[3])
	n.mu.Unlock()
	n.until("node 3 is in the ISR", func() bool { return slices.Contains(n.isr("t"), 3) })
	n.equal(id, 1, 1, 2, 3)
}

// The race: the leader's metadata shows a new topic first and it pushes. The follower refuses, because it has no such replica; at the same
// time it applies the creation and says that it is ready. If that overtakes the refusal, nobody says so again, and the leader waits.
func TestRefusalOfANewTopicIsNotTheLastWord(t *testing.T) {
	n := newNetwork(t, 3)
	var topics []uuid.UUID
	for i := range 150 {
		id := uuid.UUID{9, byte(i), byte(i >> 8)}
		replicas := []int32{1, 2, 3}
		p := metadata.PartitionState{Replicas: replicas, ISR: replicas, Leader: 1}
		n.apply(&metadata.TopicCreated{Name: fmt.Sprint("t", i), TopicID: id, TimestampMs: 1, Partitions: []metadata.PartitionState{p, p, p, p, p, p, p, p}})
		topics = append(topics, id)
	}
	for _, id := range topics {
		for node := int32(2); node <= 3; node++ {
			for p := range int32(8) {
				r := n.nodes[1].set.Get(id, p)
				n.until(fmt.Sprintf("node %d is pushed %s-%d", node, id, p), func() bool {
					r.mu.Lock()
					defer r.mu.Unlock()
					f := r.leading.follower(node)
					return f.connected && f.match >= 0
				})
			}
		}
	}
}

// answers is a stream that keeps what is written to it.
type answers struct {
	peer.Stream
	hello peer.Hello
	ready chan Refusal
}

func (s *answers) Peer() *peer.Hello { return &s.hello }
func (s *answers) Flush() error      { return nil }
func (s *answers) WriteFrame(t peer.FrameType, payload []byte) error {
	if t == frameReady {
		_, _, r, err := readReady(payload)
		s.ready <- r
		return err
	}
	return nil
}

// A follower is ready, and before it has said so it takes and acks more. What it says must not be the end from before: it would have lost
// what it has acked, and would leave the ISR.
func TestReadinessIsNotOlderThanAcks(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	leader, r := n.replica(1, id), n.replica(2, id)
	if err := ended(t, n.produce(leader, "a", true)); err != nil {
		t.Fatal(err)
	}
	s := &answers{ready: make(chan Refusal, 1)}
	r.mu.Lock()
	s.hello.Member.NodeID, s.hello.Nonce = 1, r.view.member(1).Nonce
	r.mu.Unlock()
	v := &receiver{set: n.nodes[2].set, stream: s, node: 1, wake: make(chan struct{}, 1)}
	v.offer(r)
	if err := ended(t, n.produce(leader, "b", true)); err != nil { // acked by all
		t.Fatal(err)
	}
	go func() { _ = v.answer(t.Context()) }()
	if ref := <-s.ready; ref.LogEnd != 2 || ref.End != 2 {
		t.Fatalf("%+v", ref)
	}
}

// A stream that is dead without a word, as behind a firewall that has forgotten it, is given up and replaced.
func TestSilentStreamIsReplaced(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	leader := n.replica(1, id)
	if err := ended(t, n.produce(leader, "a", true)); err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	for _, s := range n.open {
		if s.owner == 1 && s.hello.Member.NodeID == 3 {
			s.deaf.Store(true)
		}
	}
	n.mu.Unlock()
	done := n.produce(leader, "b", true)
	n.until("the ISR is without node 3", func() bool { return !slices.Contains(n.isr("t"), 3) })
	if err := ended(t, done); err != nil {
		t.Fatal(err)
	}
	n.until("node 3 is in the ISR", func() bool { return slices.Contains(n.isr("t"), 3) })
	n.equal(id, 2, 1, 2, 3)
}

// A proposed member of the ISR holds the high watermark back. When it dies and the proposal is refused, the records that waited for it are
// acknowledged, although nothing else happens.
func TestRefusedProposalLetsTheHighWatermarkGo(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	leader := n.replica(1, id)
	n.stop(3)
	if err := ended(t, n.produce(leader, "a", true)); err != nil {
		t.Fatal(err)
	}
	n.until("the ISR is without node 3", func() bool { return !slices.Contains(n.isr("t"), 3) })
	refuse := make(chan struct{})
	n.mu.Lock()
	n.refuse = refuse
	n.mu.Unlock()
	n.start(3)
	n.until("node 3 is proposed", func() bool {
		leader.mu.Lock()
		defer leader.mu.Unlock()
		return leader.leading.Pending()
	})
	n.stop(3)
	done := n.produce(leader, "b", true)
	n.until("node 2 has it", func() bool {
		leader.mu.Lock()
		defer leader.mu.Unlock()
		return leader.leading.follower(2).match == 2
	})
	select {
	case err := <-done:
		t.Fatalf("acknowledged (%v) before it is known whether node 3 is in the ISR", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(refuse)
	if err := ended(t, done); err != nil {
		t.Fatal(err)
	}
}
