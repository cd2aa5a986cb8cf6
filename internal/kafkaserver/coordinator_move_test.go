package kafkaserver

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/group"
	"github.com/chronik-io/chronik/internal/metadata"
)

// FindCoordinator does not name a broker that seems dead while another one is about to lead, and waits no longer than it may.
func TestCoordinatorThatSeemsDead(t *testing.T) {
	tr := newTrio(t)
	tr.topicOn("t", 2, 3)
	s := tr.nodes[0]
	topic := s.image().Topic("t")
	look := func(within time.Duration) (int32, time.Duration, error) {
		began := time.Now()
		node, err := s.settledLeader(t.Context(), topic, 0, began.Add(within))
		return node, time.Since(began), err
	}
	if node, took, err := look(5 * time.Second); node != 2 || err != nil || took > 2*time.Second {
		t.Errorf("nobody seems dead: node %d, %v, after %v", node, err, took)
	}
	s.suspects.Store(&[]int32{2})
	if node, took, err := look(200 * time.Millisecond); node != 2 || err != nil || took < 200*time.Millisecond {
		t.Errorf("a suspect that stays the leader: node %d, %v, after %v", node, err, took)
	}
	time.AfterFunc(100*time.Millisecond, func() { tr.setLeader("t", 3, 3) })
	if node, took, err := look(10 * time.Second); node != 3 || err != nil || took > 8*time.Second {
		t.Errorf("another one leads: node %d, %v, after %v", node, err, took)
	}
	tr.setLeader("t", metadata.NoLeader, 3)
	if _, took, err := look(200 * time.Millisecond); !errors.Is(err, group.ErrNotAvailable) || took < 200*time.Millisecond {
		t.Errorf("nobody leads: %v, after %v", err, took)
	}
	if _, _, err := look(0); !errors.Is(err, group.ErrNotAvailable) {
		t.Errorf("no time to wait: %v", err)
	}
}

// Producers that ask for ids while there is no controller do not wait for one another.
func TestProducerIDsWithoutController(t *testing.T) {
	tr := newTrio(t)
	s := tr.nodes[1]
	for s.image().Broker(s.id) == nil {
		time.Sleep(time.Millisecond)
	}
	s.off.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := s.nextProducerID(ctx)
		first <- err
	}()
	for len(s.producerIDs.turn) == 0 {
		time.Sleep(time.Millisecond)
	}
	impatient, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	began := time.Now()
	if _, err := s.nextProducerID(impatient); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > producerIDWait/2 {
		t.Errorf("the second one: %v after %v", err, time.Since(began))
	}
	cancel()
	if err := <-first; err == nil {
		t.Error("a producer id without a controller")
	}
	s.off.Store(false)
	a, err := s.nextProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b, err := s.nextProducerID(t.Context()); err != nil || a == b {
		t.Errorf("ids %d and %d: %v", a, b, err)
	}
}
