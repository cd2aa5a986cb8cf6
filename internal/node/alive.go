package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/chronik-io/chronik/internal/peer"
)

const (
	// aliveWithin bounds how long a node may take to say that it is there. One that takes longer is slow, not dead: nothing is known of it.
	aliveWithin = 150 * time.Millisecond
	// slowFor is how long a node that took longer is not asked again: clients must not wait for it each time.
	slowFor = time.Second
)

// questions are those that ask other nodes whether they are there. Many clients ask for metadata at once when a broker dies: they share an
// answer. It belongs to all goroutines.
type questions struct {
	mu   sync.Mutex // guards the rest
	open map[int32]*question
	slow map[int32]time.Time // until when nodes are not asked; bound: nodes
}

type question struct {
	done chan struct{} // closed when it is answered, or will not be
	lost bool
}

// lost reports whether the connection to a node is gone, or ends while the node is asked by ask: its process has ended, or cannot be reached.
func (q *questions) lost(ctx context.Context, node int32, ask func(context.Context) error) bool {
	q.mu.Lock()
	if time.Now().Before(q.slow[node]) {
		q.mu.Unlock()
		return false
	}
	x := q.open[node]
	if x == nil {
		if q.open == nil {
			q.open, q.slow = map[int32]*question{}, map[int32]time.Time{}
		}
		x = &question{done: make(chan struct{})}
		q.open[node] = x
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), aliveWithin)
			defer cancel()
			err := ask(ctx)
			x.lost = ctx.Err() == nil && (errors.Is(err, peer.ErrUnreachable) || errors.Is(err, peer.ErrUnknown))
			q.mu.Lock()
			delete(q.open, node)
			if ctx.Err() != nil {
				q.slow[node] = time.Now().Add(slowFor)
			}
			q.mu.Unlock()
			close(x.done)
		}()
	}
	q.mu.Unlock()
	select {
	case <-x.done:
		return x.lost
	case <-ctx.Done():
		return false
	}
}

// Lost implements kafkaserver.Cluster. A client may know of the end of a broker's process before this node does: the kernel closes one
// connection after the other.
func (b *broker) Lost(ctx context.Context, nodes []int32) []int32 {
	gone := make([]bool, len(nodes))
	var wg sync.WaitGroup
	for i, id := range nodes {
		if id != b.n.id.NodeID {
			wg.Go(func() {
				gone[i] = b.asked.lost(ctx, id, func(ctx context.Context) error {
					_, err := b.n.mesh.Call(ctx, id, peer.MethodAlive, nil)
					return err
				})
			})
		}
	}
	wg.Wait()
	var lost []int32
	for i, id := range nodes {
		if gone[i] {
			lost = append(lost, id)
		}
	}
	return lost
}

// handleAlive says that this process is there.
func handleAlive(context.Context, *peer.Hello, []byte) ([]byte, error) { return nil, nil }
