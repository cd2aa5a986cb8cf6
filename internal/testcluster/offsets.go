package testcluster

import (
	"context"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// endOffsets asks for the end of every partition of a topic.
func endOffsets(ctx context.Context, c *kgo.Client, topic string, partitions int32) (map[int32]int64, error) {
	listed, err := kadm.NewClient(c).ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	if err := listed.Error(); err != nil {
		return nil, err
	}
	ends := map[int32]int64{}
	for p := range partitions {
		o, _ := listed.Lookup(topic, p)
		ends[p] = o.Offset
	}
	return ends, nil
}
