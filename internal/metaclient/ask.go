package metaclient

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// hedgeAfter is how long one broker is waited for before the next one is asked as well.
const hedgeAfter = 300 * time.Millisecond

// nodeClients are connections to the nodes at the addresses that they have registered, made when first needed. The client library would
// first ask any broker where a node is, and wait for one that is silent.
type nodeClients struct {
	mu      sync.Mutex // guards the rest
	closed  bool
	address map[int32]string
	clients map[string]*kgo.Client // by address
}

// learn takes over where a node is.
func (n *nodeClients) learn(id int32, address string) {
	n.mu.Lock()
	if n.address == nil {
		n.address, n.clients = map[int32]string{}, map[string]*kgo.Client{}
	}
	var gone *kgo.Client
	if old := n.address[id]; old != address && n.clients[old] != nil {
		gone = n.clients[old]
		delete(n.clients, old)
	}
	n.address[id] = address
	n.mu.Unlock()
	if gone != nil {
		gone.Close() // may wait for a silent node
	}
}

// node is the broker with an id, nil if it is not known where that is.
func (n *nodeClients) node(c *Client, id int32) *kgo.Broker {
	n.mu.Lock()
	defer n.mu.Unlock()
	address := n.address[id]
	if address == "" || n.closed {
		return nil
	}
	if n.clients[address] == nil {
		kc, err := kgo.NewClient(append(slices.Clone(c.base), kgo.SeedBrokers(address))...)
		if err != nil {
			return nil
		}
		n.clients[address] = kc
	}
	return n.clients[address].SeedBrokers()[0]
}

// all are all nodes that are known.
func (n *nodeClients) all(c *Client) []*kgo.Broker {
	n.mu.Lock()
	ids := slices.Collect(maps.Keys(n.address))
	n.mu.Unlock()
	var brokers []*kgo.Broker
	for _, id := range ids {
		if b := n.node(c, id); b != nil {
			brokers = append(brokers, b)
		}
	}
	return brokers
}

func (n *nodeClients) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for _, kc := range n.clients {
		kc.Close()
	}
	clear(n.clients)
}

// broker is the node with an id, for a request that is for it alone.
func (c *Client) broker(id int32) *kgo.Broker {
	if b := c.nodes.node(c, id); b != nil {
		return b
	}
	return c.kafka.Broker(int(id))
}

var errNobody = errors.New("no broker is known")

// askAny sends a request that every broker can answer, and returns the first answer. A broker that is silent (stopped, cut off, not
// serving yet) holds nothing up: the next one is asked as well after hedgeAfter, and at once if one fails. request builds a new request
// for each. The error is the first one, and is returned only when all have failed.
func (c *Client) askAny(ctx context.Context, request func() kmsg.Request) (kmsg.Response, error) {
	brokers := c.nodes.all(c)
	rand.Shuffle(len(brokers), func(i, j int) { brokers[i], brokers[j] = brokers[j], brokers[i] })
	brokers = append(brokers, c.kafka.SeedBrokers()...)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of those that are not needed any more
	type result struct {
		resp kmsg.Response
		err  error
	}
	results := make(chan result, len(brokers))
	first := errNobody
	for asked, done := 0, 0; done < len(brokers); {
		var next <-chan time.Time
		if asked < len(brokers) {
			b := brokers[asked]
			asked++
			go func() {
				resp, err := b.Request(ctx, request())
				results <- result{resp, err}
			}()
			timer := time.NewTimer(hedgeAfter)
			defer timer.Stop()
			next = timer.C
		}
		select {
		case r := <-results:
			if r.err == nil {
				return r.resp, nil
			}
			if done++; first == errNobody {
				first = r.err
			}
		case <-next:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, first
}
