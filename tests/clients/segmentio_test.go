package clients

import (
	"context"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

var segmentio = library{name: "segmentio", newProducer: newSegmentioProducer, newConsumer: newSegmentioConsumer, noIdempotence: true}

type segmentioProducer struct{ w *kafka.Writer }

func newSegmentioProducer(_ *testing.T, bootstrap []string, o producerOptions) producer {
	w := &kafka.Writer{Addr: kafka.TCP(bootstrap...), Balancer: &kafka.Hash{}, RequiredAcks: kafka.RequireAll, AllowAutoTopicCreation: true, BatchTimeout: 5 * time.Millisecond,
		Compression: map[string]kafka.Compression{"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}[o.codec]}
	if o.maxBytes > 0 {
		w.BatchBytes = int64(o.maxBytes)
	}
	return segmentioProducer{w}
}

func (p segmentioProducer) send(ctx context.Context, topic string, messages []message) error {
	var all []kafka.Message
	for _, m := range messages {
		all = append(all, kafka.Message{Topic: topic, Key: []byte(m.key), Value: []byte(m.value), Headers: []kafka.Header{{Key: "h", Value: []byte(m.header)}}})
	}
	return p.w.WriteMessages(ctx, all...)
}

func (p segmentioProducer) close() { p.w.Close() }

type segmentioConsumer struct {
	r    *kafka.Reader
	last map[int]kafka.Message
}

func newSegmentioConsumer(_ *testing.T, bootstrap []string, group, topic string) consumer {
	return &segmentioConsumer{last: map[int]kafka.Message{}, r: kafka.NewReader(kafka.ReaderConfig{Brokers: bootstrap, GroupID: group, Topic: topic,
		StartOffset: kafka.FirstOffset, MaxBytes: 10 << 20, MaxWait: 500 * time.Millisecond})}
}

func (c *segmentioConsumer) poll(ctx context.Context) ([]message, error) {
	m, err := c.r.FetchMessage(ctx)
	if err != nil {
		return nil, err
	}
	c.last[m.Partition] = m
	out := message{key: string(m.Key), value: string(m.Value)}
	for _, h := range m.Headers {
		out.header = string(h.Value)
	}
	return []message{out}, nil
}

func (c *segmentioConsumer) commit(ctx context.Context) error {
	var all []kafka.Message
	for _, m := range c.last {
		all = append(all, m)
	}
	return c.r.CommitMessages(ctx, all...)
}

func (c *segmentioConsumer) close() { c.r.Close() }
