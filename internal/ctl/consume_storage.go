package ctl

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-io/chronik/internal/cli"
)

type partitionID struct {
	topic     string
	partition int32
}

// storagePatience is how long a storage error may last where there are other replicas: one of them is to lead soon.
const storagePatience = 10 * time.Second

// stays reports whether a leader's storage error will not pass: no other replica can lead, or none has for a while.
func (r *consuming) stays(ctx context.Context, topic string, partition int32) bool {
	id := partitionID{topic, partition}
	since, known := r.unreadable[id]
	if known {
		return time.Since(since) > storagePatience
	}
	r.unreadable[id] = time.Now()
	ctx, cancel := r.app.WithTimeout(ctx)
	defer cancel()
	topics, err := r.cluster.Admin().ListTopicsWithInternal(ctx, topic)
	return err == nil && len(topics[topic].Partitions[partition].Replicas) == 1
}

func (r *consuming) storageError(fe kgo.FetchError) error {
	what := fmt.Sprintf("read %s-%d", fe.Topic, fe.Partition)
	if at, ok := r.next[partitionID{fe.Topic, fe.Partition}]; ok {
		what += fmt.Sprintf(" from offset %d on", at)
	}
	return &cli.Error{Code: cli.ExitFailed, What: what, Err: fmt.Errorf("%s: its leader cannot read what it has stored, and no other replica leads", kerr.KafkaStorageError.Message),
		Next: "chronikctl partition verify " + fe.Topic + "   (says where; docs/operations.md, Damage, how to read past it)"}
}
