package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

// prepareTopic makes sure that the topic is there, and notes how many partitions it has and where they end.
func (r *run) prepareTopic(ctx context.Context) error {
	ctx, cancel := r.app.WithTimeout(ctx)
	defer cancel()
	r.topic = r.o.Topic
	if r.topic == "" {
		r.topic = fmt.Sprintf("chronik-bench-%08x", uint32(r.id))
		r.ownTopic = true
	}
	if r.ownTopic || r.o.CreateTopic {
		if err := r.createTopic(ctx); err != nil {
			return err
		}
	}
	topics, err := r.meta.RequireTopics(ctx, r.topic)
	if err != nil {
		var e *cli.Error
		if errors.As(err, &e) && e.Code == cli.ExitFailed && e.Next == "" {
			return e.WithNext("add --create-topic")
		}
		return err
	}
	r.partitions = len(topics[r.topic].Partitions)
	for _, p := range topics[r.topic].Partitions {
		r.replicas = max(r.replicas, len(p.Replicas))
	}
	r.startOffsets, err = r.endOffsets(ctx)
	return err
}

func (r *run) createTopic(ctx context.Context) error {
	configs := map[string]*string{}
	for _, kv := range r.o.TopicConfig {
		k, v, ok := strings.Cut(kv, "=")
		if !ok {
			return cli.Usagef("--topic-config %s: must be key=value", kv)
		}
		configs[k] = &v
	}
	resp, err := r.meta.Admin().CreateTopic(ctx, r.o.Partitions, r.o.Replication, configs, r.topic)
	if err == nil {
		err = resp.Err
	}
	if errors.Is(err, kerr.TopicAlreadyExists) && !r.ownTopic {
		r.app.Hintf("topic %s exists; it is used as it is", r.topic)
		return nil
	}
	if err != nil {
		if resp.ErrMessage != "" { // it says more than the error's own sentence
			return &cli.Error{Code: metaclient.Code(err), What: "create topic " + r.topic, Err: fmt.Errorf("%s (%s)", metaclient.Cause(err), resp.ErrMessage)}
		}
		return metaclient.Explain("create topic "+r.topic, err)
	}
	return r.awaitLeaders(ctx)
}

// awaitLeaders waits until the new topic can be used through any broker: Kafka answers a creation before that.
func (r *run) awaitLeaders(ctx context.Context) error {
	for {
		topics, err := r.meta.Admin().ListTopics(ctx, r.topic)
		ready := err == nil && topics[r.topic].Err == nil && len(topics[r.topic].Partitions) > 0
		for _, p := range topics[r.topic].Partitions {
			ready = ready && p.Leader >= 0
		}
		if ready {
			if ends, err := r.meta.Admin().ListEndOffsets(ctx, r.topic); err == nil && ends.Error() == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return metaclient.Explain("wait for the leaders of "+r.topic, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (r *run) endOffsets(ctx context.Context) ([]int64, error) {
	ends, err := r.meta.Admin().ListEndOffsets(ctx, r.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, metaclient.Explain("read end offsets of "+r.topic, err)
	}
	out := make([]int64, r.partitions)
	ends.Each(func(l kadm.ListedOffset) {
		if int(l.Partition) < len(out) {
			out[l.Partition] = l.Offset
		}
	})
	return out, nil
}

// removeTopic removes the run's own topic, also after Ctrl-C.
func (r *run) removeTopic() {
	if !r.ownTopic || r.o.KeepTopic {
		return
	}
	bound := r.app.Timeout
	if r.gaveUp.Load() {
		bound = min(bound, giveUp)
	}
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	resp, err := r.meta.Admin().DeleteTopic(ctx, r.topic)
	if err == nil {
		err = resp.Err
	}
	if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
		r.app.Hintf("could not remove %s: %s\nnext: chronikctl topic delete %s", r.topic, metaclient.Cause(err), r.topic)
	}
}
