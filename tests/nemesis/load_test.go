package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	keys          = 5
	perBroker     = 2                      // clients
	leastPatience = 500 * time.Millisecond // of a client, drawn for each operation: short ones ask again while their broker is stopped
	answerWithin  = 3 * time.Second        // the longest
	serverTimeout = 2 * time.Second        // in requests that have one
	setting       = "retention.ms"
	firstValue    = 1_000_000 // milliseconds; values are counted up from here, so that each is written once
	ownImageWait  = time.Second
)

// metadataLoad is clients that create, delete, alter and look at the same few topics, each through one broker.
type metadataLoad struct {
	t        *testing.T
	nemesis  *Nemesis
	progress *Progress
	began    time.Time
	clients  []*client
	value    atomic.Int64
	counts   [6][5]atomic.Int64 // by kind and result

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// client asks one broker, one question at a time, and never asks twice by itself.
type client struct {
	l     *metadataLoad
	id    int
	node  int
	kafka *kgo.Client
	r     *rand.Rand
}

func newMetadataLoad(t *testing.T, addresses []string, n *Nemesis, seed uint64) *metadataLoad {
	l := &metadataLoad{t: t, nemesis: n, progress: NewProgress(), began: time.Now()}
	l.value.Store(firstValue)
	for node, a := range addresses {
		for range perBroker {
			k, err := kgo.NewClient(kgo.SeedBrokers(a), kgo.DialTimeout(time.Second), kgo.ClientID(fmt.Sprintf("nemesis-%d", len(l.clients))),
				kgo.RequestRetries(0), kgo.DisableClientMetrics())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(k.Close)
			c := &client{l: l, id: len(l.clients), node: node, kafka: k}
			c.r = rand.New(rand.NewPCG(seed, uint64(c.id)+100))
			l.clients = append(l.clients, c)
		}
	}
	if len(l.clients) >= maxClients {
		t.Fatalf("%d clients, and the model has %d seats", len(l.clients), maxClients)
	}
	return l
}

func keyName(generation, key int) string { return fmt.Sprintf("g%d-key%d", generation, key) }

// start lets all clients work on the keys of a generation until stop.
func (l *metadataLoad) start(generation int) *history {
	h := &history{}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	for _, c := range l.clients {
		l.done.Go(func() {
			for ctx.Err() == nil {
				o := c.choose(keyName(generation, c.r.IntN(keys)))
				c.do(o)
				h.add(o)
				wait := time.Duration(c.r.Int64N(int64(20 * time.Millisecond)))
				if o.result == nothing {
					wait = 50 * time.Millisecond
				}
				_ = sleep(ctx, wait) // the loop's condition sees it
			}
		})
	}
	return h
}

// stop ends the load. Each client's last operation is answered or given up.
func (l *metadataLoad) stop() {
	l.cancel()
	l.done.Wait()
}

func (c *client) choose(key string) *op {
	o := &op{key: key, client: c.id}
	switch p := c.r.IntN(100); {
	case p < 24:
		o.kind, o.value = create, c.l.value.Add(1)
	case p < 38:
		o.kind = remove
	case p < 64:
		o.kind, o.value = alter, c.l.value.Add(1)
	case p < 74:
		o.kind = probe
	case p < 88:
		o.kind = lookup
	default:
		o.kind = read
	}
	return o
}

// do asks, and writes down what came of it.
func (c *client) do(o *op) {
	session := c.l.nemesis.Incarnation(c.node)
	o.session = session
	asked := time.Now()
	o.call = asked.Sub(c.l.began)
	patience := between(c.r, leastPatience, answerWithin)
	if o.latest {
		patience = settleWithin
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	o.result = unknown
	if resp, err := c.kafka.SeedBrokers()[0].Request(ctx, o.request()); err == nil {
		if err := o.take(resp); err != nil {
			c.l.t.Errorf("%s %s: %v", o.key, o, err)
		}
	} else if notSent(err) {
		o.result = nothing
	}
	o.ret = time.Since(c.l.began)
	sameProcess := c.l.nemesis.Incarnation(c.node) == session
	if !sameProcess {
		o.session = -int64(o.call) // of nobody else
	}
	o.shown = sameProcess && o.result != unknown && o.result != nothing && o.ret-o.call < ownImageWait
	c.l.counts[o.kind][o.result].Add(1)
	if o.kind <= alter && o.result == done {
		c.l.progress.Ack(asked)
	}
}

// notSent is whether a request certainly did not leave: there was no connection, and none could be made.
func notSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func (o *op) request() kmsg.Request {
	switch o.kind {
	case create, probe:
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis, req.ValidateOnly = int32(serverTimeout.Milliseconds()), o.kind == probe
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = o.key, 1, 1
		if o.kind == create {
			t.Configs = append(t.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: setting, Value: kmsg.StringPtr(strconv.FormatInt(o.value, 10))})
		}
		req.Topics = append(req.Topics, t)
		return req
	case remove:
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.TimeoutMillis = int32(serverTimeout.Milliseconds())
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = kmsg.StringPtr(o.key)
		req.Topics, req.TopicNames = append(req.Topics, t), []string{o.key}
		return req
	case alter:
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, o.key
		r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: setting, Value: kmsg.StringPtr(strconv.FormatInt(o.value, 10))})
		req.Resources = append(req.Resources, r)
		return req
	case lookup:
		req := kmsg.NewPtrMetadataRequest()
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(o.key)
		req.Topics = append(req.Topics, t)
		return req
	}
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, o.key, []string{setting}
	req.Resources = append(req.Resources, r)
	return req
}

var errShape = errors.New("the answer is not one to the question")

// take reads an answer. An error is one that no server may give.
func (o *op) take(resp kmsg.Response) error {
	switch r := resp.(type) {
	case *kmsg.CreateTopicsResponse:
		if len(r.Topics) != 1 {
			return errShape
		}
		o.id = r.Topics[0].TopicID
		return o.judge(r.Topics[0].ErrorCode)
	case *kmsg.DeleteTopicsResponse:
		if len(r.Topics) != 1 {
			return errShape
		}
		o.id = r.Topics[0].TopicID
		return o.judge(r.Topics[0].ErrorCode)
	case *kmsg.IncrementalAlterConfigsResponse:
		if len(r.Resources) != 1 {
			return errShape
		}
		return o.judge(r.Resources[0].ErrorCode)
	case *kmsg.MetadataResponse:
		if len(r.Topics) != 1 {
			return errShape
		}
		o.id = r.Topics[0].TopicID
		return o.judge(r.Topics[0].ErrorCode)
	case *kmsg.DescribeConfigsResponse:
		if len(r.Resources) != 1 {
			return errShape
		}
		for _, c := range r.Resources[0].Configs {
			if c.Name == setting && c.Source == kmsg.ConfigSourceDynamicTopicConfig && c.Value != nil {
				v, err := strconv.ParseInt(*c.Value, 10, 64)
				if err != nil {
					return err
				}
				o.read = v
			}
		}
		return o.judge(r.Resources[0].ErrorCode)
	}
	return errShape
}

// judge gives an error code its meaning.
func (o *op) judge(code int16) error {
	switch err := kerr.ErrorForCode(code); {
	case err == nil && o.kind == probe:
		o.result = absent
	case err == nil:
		o.result = done
	case errors.Is(err, kerr.TopicAlreadyExists) && (o.kind == create || o.kind == probe):
		o.result = exists
	case errors.Is(err, kerr.UnknownTopicOrPartition) && o.kind != create && o.kind != probe:
		o.result = absent
	case errors.Is(err, kerr.NotController):
		o.result = nothing // which is what it promises
	case errors.Is(err, kerr.RequestTimedOut):
		o.result = unknown
	default:
		return fmt.Errorf("unexpected error: %w", err)
	}
	return nil
}

// report is a table of what was asked and answered.
func (l *metadataLoad) report() string {
	s := ""
	for k, name := range []string{"create", "delete", "alter", "probe", "lookup", "read"} {
		s += fmt.Sprintf("%s: %d done, %d absent, %d exists, %d not done, %d unknown; ", name, l.counts[k][done].Load(), l.counts[k][absent].Load(),
			l.counts[k][exists].Load(), l.counts[k][nothing].Load(), l.counts[k][unknown].Load())
	}
	return s[:len(s)-2]
}
