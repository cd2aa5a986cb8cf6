package failover

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// place is a partition of a topic.
type place struct {
	topic     string
	partition int32
}

// Offsets remembers what a group has committed, for whoever looks it up later. It may be used by all goroutines.
type Offsets struct {
	group string

	mu    sync.Mutex
	acked map[place]int64 // the highest that was acknowledged
	asked int             // answers that were compared
	wrong []error         // what was found lower than it had been acknowledged before the question
}

// NewOffsets begins with nothing committed.
func NewOffsets(group string) *Offsets { return &Offsets{group: group, acked: map[place]int64{}} }

// Acked notes an offset that the coordinator acknowledged.
func (o *Offsets) Acked(topic string, partition int32, offset int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := place{topic, partition}
	o.acked[at] = max(o.acked[at], offset)
}

// Look asks for all offsets of the group and compares them with what had been acknowledged by then. An error is an answer that was not
// given; what is wrong is in Wrong.
func (o *Offsets) Look(ctx context.Context, kafka *kadm.Client) error {
	o.mu.Lock()
	before := make(map[place]int64, len(o.acked))
	for at, offset := range o.acked {
		before[at] = offset
	}
	o.mu.Unlock()
	found, err := kafka.FetchOffsets(ctx, o.group)
	if err != nil {
		return err
	}
	if err := found.Error(); err != nil { // also of topics whose ids the client could not give their names: they have none then
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	for at, want := range before {
		got, ok := found.Lookup(at.topic, at.partition)
		switch {
		case !ok || got.At < 0:
			o.wrong = append(o.wrong, fmt.Errorf("%s-%d: acknowledged %d, and nothing is found in %v", at.topic, at.partition, want, found))
		case got.At < want:
			o.wrong = append(o.wrong, fmt.Errorf("%s-%d: acknowledged %d, found %d", at.topic, at.partition, want, got.At))
		}
	}
	return nil
}

// Watch looks again and again until ctx ends. Errors that a client would try again on are no answer; any other one is wrong. A client that
// got no answer is replaced: one that does nothing else keeps dialling a coordinator that is gone.
func (o *Offsets) Watch(ctx context.Context, connect func() *kgo.Client) {
	kafka := connect()
	defer func() { kafka.Close() }()
	for ctx.Err() == nil {
		look, cancel := context.WithTimeout(ctx, time.Second)
		err := o.Look(look, kadm.NewClient(kafka))
		cancel()
		if err != nil {
			kafka.Close()
			kafka = connect()
		}
		var ke *kerr.Error
		if errors.As(err, &ke) && !ke.Retriable {
			o.mu.Lock()
			o.wrong = append(o.wrong, fmt.Errorf("fetch offsets: %w", err))
			o.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Asked is how many answers were compared; Wrong is what was wrong with them.
func (o *Offsets) Asked() (int, []error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked, append([]error(nil), o.wrong...)
}
