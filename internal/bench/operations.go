package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-io/chronik/internal/metaclient"
)

// Operations of mode metadata.
const (
	opCreate   = "create"   // create a topic
	opVisible  = "visible"  // until every broker shows the topic with leaders
	opMetadata = "metadata" // one Metadata request for the topic
	opAlter    = "alter"    // change a setting of the topic
	opCommit   = "commit"   // commit an offset of a group
	opDelete   = "delete"   // delete the topic
)

var allOps = []string{opCreate, opVisible, opMetadata, opAlter, opCommit, opDelete}

// opTimeout bounds one operation.
const opTimeout = 30 * time.Second

// deleteBatch is how many leftover topics one request removes.
const deleteBatch = 500

// operations is the load of mode metadata: --concurrency workers that go through --ops in rounds.
type operations struct {
	run     *run
	clients []*kadm.Client
	raw     []*kgo.Client
	brokers []int32
	workers []*opWorker
	wg      sync.WaitGroup
}

// opWorker belongs to its goroutine until the load has ended.
type opWorker struct {
	ops      *operations
	id       int
	admin    *kadm.Client
	raw      *kgo.Client
	recorder *recorder
	byOp     map[string]*hdrhistogram.Histogram
	errors   errorCounts
	leftover []string // topics created and not deleted
	left     int64
}

func (r *run) openOperations(ctx context.Context) (*operations, error) {
	o := &operations{run: r}
	tctx, cancel := r.app.WithTimeout(ctx)
	defer cancel()
	brokers, err := r.meta.Admin().ListBrokers(tctx)
	if err != nil {
		return nil, metaclient.Explain("list brokers", err)
	}
	for _, b := range brokers {
		o.brokers = append(o.brokers, b.NodeID)
	}
	for range r.o.Clients {
		kc, err := r.meta.With()
		if err != nil {
			return nil, err
		}
		if err := kc.Ping(tctx); err != nil {
			return nil, metaclient.Explain("connect", err)
		}
		o.raw = append(o.raw, kc)
		o.clients = append(o.clients, kadm.NewClient(kc))
	}
	quota := share(r.o.Messages, r.o.Concurrency)
	for i := range r.o.Concurrency {
		w := &opWorker{ops: o, id: i, admin: o.clients[i%len(o.clients)], raw: o.raw[i%len(o.raw)], recorder: newRecorder(&r.window, false), left: quota(i),
			byOp: map[string]*hdrhistogram.Histogram{}}
		for _, op := range r.o.Ops {
			w.byOp[op] = newHistogram()
		}
		o.workers = append(o.workers, w)
		r.recorders = append(r.recorders, w.recorder)
	}
	return o, nil
}

func (o *operations) start(ctx context.Context) {
	for _, w := range o.workers {
		o.wg.Go(func() { w.rounds(ctx) })
	}
}

func (w *opWorker) rounds(ctx context.Context) {
	run := w.ops.run
	own := slices.Contains(run.o.Ops, opCreate)
	for i := 0; w.left != 0; i++ {
		topic := run.topic
		if own {
			topic = fmt.Sprintf("chronik-bench-%08x-%d-%d", uint32(run.id), w.id, i)
		}
		for _, op := range run.o.Ops {
			begin := run.clock.now()
			if ctx.Err() != nil || begin >= run.window.end.Load() {
				return
			}
			err := w.do(ctx, op, topic)
			end := run.clock.now()
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				w.errors.add(op + ": " + metaclient.Cause(err))
				w.recorder.fail()
				time.Sleep(retryPause)
			default:
				w.recorder.ok(begin, begin, end, 0)
				if begin >= run.window.start.Load() {
					_ = w.byOp[op].RecordValue(min(max(end-begin, histogramMin), histogramMax))
				}
			}
		}
		if w.left > 0 {
			w.left--
		}
	}
}

func (w *opWorker) do(ctx context.Context, op, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	switch op {
	case opCreate:
		w.leftover = append(w.leftover, topic)
		resp, err := w.admin.CreateTopic(ctx, w.ops.run.topicPartitions(), w.ops.run.o.Replication, nil, topic)
		return errors.Join(err, resp.Err)
	case opVisible:
		return w.visible(ctx, topic)
	case opMetadata:
		topics, err := w.admin.ListTopics(ctx, topic)
		return errors.Join(err, topics[topic].Err)
	case opAlter:
		value := fmt.Sprint(3_600_000 + time.Now().UnixMilli()%1_000_000)
		resps, err := w.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}, topic)
		if err != nil {
			return err
		}
		for _, r := range resps {
			return r.Err
		}
		return nil
	case opCommit:
		offsets := kadm.Offsets{}
		offsets.AddOffset(topic, 0, time.Now().UnixMilli(), -1)
		return w.admin.CommitAllOffsets(ctx, fmt.Sprintf("chronik-bench-%08x-%d", uint32(w.ops.run.id), w.id), offsets)
	case opDelete:
		resp, err := w.admin.DeleteTopic(ctx, topic)
		if err == nil && resp.Err == nil && len(w.leftover) > 0 {
			w.leftover = w.leftover[:len(w.leftover)-1]
		}
		return errors.Join(err, resp.Err)
	}
	return fmt.Errorf("unknown operation %q", op)
}

// visible asks every broker until it shows the topic with all leaders.
func (w *opWorker) visible(ctx context.Context, topic string) error {
	for _, id := range w.ops.brokers {
		for {
			req := kmsg.NewPtrMetadataRequest()
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = &topic
			req.Topics = append(req.Topics, t)
			req.AllowAutoTopicCreation = false
			resp, err := w.raw.Broker(int(id)).Request(ctx, req)
			if err != nil {
				return err
			}
			if hasLeaders(resp.(*kmsg.MetadataResponse)) {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Millisecond):
			}
		}
	}
	return nil
}

func hasLeaders(m *kmsg.MetadataResponse) bool {
	if len(m.Topics) != 1 || m.Topics[0].ErrorCode != 0 || len(m.Topics[0].Partitions) == 0 {
		return false
	}
	for _, p := range m.Topics[0].Partitions {
		if p.Leader < 0 || p.ErrorCode != 0 {
			return false
		}
	}
	return true
}

// topicPartitions is how many partitions a topic of mode metadata gets: one unless it was asked for.
func (r *run) topicPartitions() int32 {
	if r.o.given["partitions"] {
		return r.o.Partitions
	}
	return 1
}

// finish removes leftover topics and groups, closes the clients and sums up by operation.
func (o *operations) finish() map[string]*hdrhistogram.Histogram {
	sum := map[string]*hdrhistogram.Histogram{}
	var leftover []string
	for _, w := range o.workers {
		for op, h := range w.byOp {
			if sum[op] == nil {
				sum[op] = newHistogram()
			}
			sum[op].Merge(h)
		}
		for cause, n := range w.errors {
			if o.run.errors == nil {
				o.run.errors = errorCounts{}
			}
			o.run.errors[cause] += n
		}
		leftover = append(leftover, w.leftover...)
	}
	if !o.run.o.KeepTopic {
		o.clean(leftover)
	}
	for _, kc := range o.raw {
		kc.Close()
	}
	return sum
}

func (o *operations) clean(leftover []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for chunk := range slices.Chunk(leftover, deleteBatch) {
		resps, err := o.run.meta.Admin().DeleteTopics(ctx, chunk...)
		if err != nil {
			o.run.app.Hintf("could not remove the run's topics: %s   (chronikctl topic list 'chronik-bench-*')", metaclient.Cause(err))
			return
		}
		for _, r := range resps {
			if r.Err != nil && !errors.Is(r.Err, kerr.UnknownTopicOrPartition) {
				o.run.app.Hintf("could not remove %s: %s", r.Topic, metaclient.Cause(r.Err))
			}
		}
	}
	if slices.Contains(o.run.o.Ops, opCommit) {
		var groups []string
		for _, w := range o.workers {
			groups = append(groups, fmt.Sprintf("chronik-bench-%08x-%d", uint32(o.run.id), w.id))
		}
		_, _ = o.run.meta.Admin().DeleteGroups(ctx, groups...) // empty groups expire by themselves
	}
}
