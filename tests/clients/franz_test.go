package clients

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

var franz = library{name: "franz-go", newProducer: newFranzProducer, newConsumer: newFranzConsumer}

type franzProducer struct{ c *kgo.Client }

func newFranzProducer(t *testing.T, bootstrap []string, o producerOptions) producer {
	codec := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}[o.codec]
	opts := []kgo.Opt{kgo.SeedBrokers(bootstrap...), kgo.ProducerBatchCompression(codec), kgo.AllowAutoTopicCreation()}
	if !o.idempotent {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	if o.maxBytes > 0 {
		opts = append(opts, kgo.ProducerBatchMaxBytes(int32(o.maxBytes)))
	}
	c, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return franzProducer{c}
}

func (p franzProducer) send(ctx context.Context, topic string, messages []message) error {
	var records []*kgo.Record
	for _, m := range messages {
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(m.key), Value: []byte(m.value), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte(m.header)}}})
	}
	return p.c.ProduceSync(ctx, records...).FirstErr()
}

func (p franzProducer) close() { p.c.Close() }

type franzConsumer struct{ c *kgo.Client }

func newFranzConsumer(t *testing.T, bootstrap []string, group, topic string) consumer {
	c, err := kgo.NewClient(kgo.SeedBrokers(bootstrap...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	return franzConsumer{c}
}

func (c franzConsumer) poll(ctx context.Context) ([]message, error) {
	fetches := c.c.PollFetches(ctx)
	if err := fetches.Err(); err != nil {
		return nil, err
	}
	var all []message
	fetches.EachRecord(func(r *kgo.Record) {
		m := message{key: string(r.Key), value: string(r.Value)}
		for _, h := range r.Headers {
			m.header = string(h.Value)
		}
		all = append(all, m)
	})
	return all, nil
}

func (c franzConsumer) commit(ctx context.Context) error { return c.c.CommitUncommittedOffsets(ctx) }
func (c franzConsumer) close()                           { c.c.Close() }
