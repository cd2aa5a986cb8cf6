package metaclient

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-io/chronik/internal/metadata"
)

// maxPollEntries bounds what one Poll returns.
const maxPollEntries = 5000

// tailSilence is how much longer than the fetch wait a tail waits for a broker that is silent.
const tailSilence = 2 * time.Second

// LogEntry is one entry of the metadata log as a client reads it.
type LogEntry struct {
	Offset int64
	Epoch  int32
	// Time is zero when the log does not say.
	Time time.Time
	// Key names the entity: topic/orders.
	Key string
	// Kind is what the entry is in the log (event, epoch-start, ...), "" when it was not sent.
	Kind string
	// Type is the event's type (TopicCreated) or the kind of an entry that is no event (epoch-start).
	Type string
	// Hash is the entry's chain hash in hex, "" when it was not sent.
	Hash  string
	Value []byte
	// Event is nil for an entry that is no event, and when Err says that it cannot be read.
	Event metadata.Event
	Err   error
}

// Tail reads the metadata log from an offset on, and then what is appended.
type Tail struct {
	kafka *kgo.Client
	// Start and End are the first offset and the one after the last committed entry when the tail was opened.
	Start, End int64
}

// leaderPause is how long a leader of the metadata log is waited for before it is looked for again.
const leaderPause = 100 * time.Millisecond

// LogBounds returns the first offset of the metadata log and the one after its last entry. While nobody leads the log it waits, until ctx is
// done. A broker that is silent holds up only what it alone can tell.
func (c *Client) LogBounds(ctx context.Context) (start, end int64, err error) {
	for {
		start, end, err = c.logBounds(ctx)
		var ke *kerr.Error
		switch {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			return 0, 0, ErrNoMetadataLog
		case err == nil:
			return start, end, nil
		case !errors.As(err, &ke) || !ke.Retriable:
			return 0, 0, Explain("read the metadata log", err)
		}
		select {
		case <-ctx.Done():
			return 0, 0, Explain("read the metadata log", err)
		case <-time.After(leaderPause):
		}
	}
}

// logBounds asks who leads the log, and then that node.
func (c *Client) logBounds(ctx context.Context) (start, end int64, err error) {
	answer, err := c.askAny(ctx, func() kmsg.Request {
		req := kmsg.NewPtrMetadataRequest()
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(MetadataTopic)
		req.Topics = append(req.Topics, t)
		return req
	})
	if err != nil {
		return 0, 0, err
	}
	m := answer.(*kmsg.MetadataResponse)
	c.learnNodes(m)
	leader := int32(-1)
	for _, t := range m.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return 0, 0, err
		}
		for _, p := range t.Partitions {
			leader = p.Leader
		}
	}
	if leader < 0 {
		return 0, 0, kerr.LeaderNotAvailable
	}
	e, err := c.extentsOf(ctx, leader, map[string][]int32{MetadataTopic: {0}})
	x, ok := e[MetadataTopic][0]
	if err == nil && !ok {
		err = fmt.Errorf("offsets of %s: %w: the answer does not name it", MetadataTopic, kerr.UnknownTopicOrPartition)
	}
	return x.Start, x.End, err
}

// OpenTail opens the log at an offset; below the log's start it begins at the start.
func (c *Client) OpenTail(ctx context.Context, from int64) (*Tail, error) {
	start, end, err := c.LogBounds(ctx)
	if err != nil {
		return nil, err
	}
	from = max(from, start)
	kc, err := c.With(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{MetadataTopic: {0: kgo.NewOffset().At(from)}}),
		kgo.FetchMaxWait(500*time.Millisecond), kgo.FetchMinBytes(1),
		kgo.RequestTimeoutOverhead(tailSilence), // then it looks for the log's leader anew
		kgo.KeepRetryableFetchErrors(),
	)
	if err != nil {
		return nil, err
	}
	return &Tail{kafka: kc, Start: start, End: end}, nil
}

// Poll returns the next entries, at least one. An error of the connection may pass: the caller says so and polls again.
func (t *Tail) Poll(ctx context.Context) ([]LogEntry, error) {
	for {
		fetches := t.kafka.PollRecords(ctx, maxPollEntries)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var entries []LogEntry
		fetches.EachRecord(func(r *kgo.Record) { entries = append(entries, decodeEntry(r)) })
		if len(entries) > 0 {
			return entries, nil
		}
		for _, fe := range fetches.Errors() {
			return nil, Explain("read the metadata log", fe.Err)
		}
	}
}

// Close ends the tail.
func (t *Tail) Close() { t.kafka.Close() }

// TypeImageHash is the type of an entry that holds the hash of the image so far.
const TypeImageHash = "image-hash"

// typeUnknown is the type of an event that cannot be read.
const typeUnknown = "unknown"

// EntryTypes are the types that entries of the log have: events first, then what the log itself writes.
func EntryTypes() []string {
	return append(metadata.EventTypes(), "epoch-start", TypeImageHash, "noop", typeUnknown)
}

// decodeEntry reads a record of the log. Entries that are no events carry their kind in a header.
func decodeEntry(r *kgo.Record) LogEntry {
	var at time.Time
	if r.Timestamp.UnixMilli() > 0 {
		at = r.Timestamp
	}
	kind, hash := "", ""
	for _, h := range r.Headers {
		switch h.Key {
		case "hash":
			hash = headerHash(h.Value)
		case "type":
			kind = string(h.Value)
		}
	}
	return RebuildEntry(r.Offset, r.LeaderEpoch, at, string(r.Key), kind, hash, r.Value)
}

// RebuildEntry makes an entry of its parts, for readers that have kept them.
func RebuildEntry(offset int64, epoch int32, at time.Time, key, kind, hash string, value []byte) LogEntry {
	e := LogEntry{Offset: offset, Epoch: epoch, Time: at, Key: key, Kind: kind, Hash: hash, Value: value}
	if kind != "" && kind != "event" && kind != "voters" {
		e.Type = kind
		return e
	}
	ev, err := metadata.DecodeEvent(value)
	if err != nil {
		e.Type, e.Err = typeUnknown, fmt.Errorf("entry %d: %w", offset, err)
		return e
	}
	e.Event, e.Type = ev, ev.Type()
	if e.Key == "" {
		e.Key = ev.Key()
	}
	if ms := EventTimeMs(ev); ms > 0 && e.Time.IsZero() {
		e.Time = time.UnixMilli(ms)
	}
	return e
}

// EventTimeMs is the timestamp in an event, 0 if it has none.
func EventTimeMs(ev metadata.Event) int64 {
	switch ev := ev.(type) {
	case *metadata.ClusterFounded:
		return ev.TimestampMs
	case *metadata.TopicCreated:
		return ev.TimestampMs
	case *metadata.TopicDeleted:
		return ev.TimestampMs
	}
	return 0
}

// headerHash accepts a hash as bytes or already in hex.
func headerHash(v []byte) string {
	if len(v) == 2*16 || len(v) == 2*32 {
		if _, err := hex.DecodeString(string(v)); err == nil {
			return strings.ToLower(string(v))
		}
	}
	return hex.EncodeToString(v)
}

// Fold is an image that follows the log with the server's own Apply.
type Fold struct {
	// Image is the state after the last applied entry.
	Image *metadata.Image
	// Complete is false when the log's beginning is gone, so that the image lacks what was decided before.
	Complete bool
	// Err is why the fold stopped: an entry that Apply refuses, or an image whose hash is not the log's.
	Err error
}

// Step is what one entry did.
type Step struct {
	Entry         LogEntry
	Before, After *metadata.Image
	Delta         *metadata.Delta
}

// NewFold starts at the log's first offset.
func NewFold(start int64) *Fold {
	return &Fold{Image: metadata.Empty(), Complete: start == 0}
}

// Apply advances the image by one entry. After an error the image stays where it is.
func (f *Fold) Apply(e LogEntry) Step {
	step := Step{Entry: e, Before: f.Image, After: f.Image}
	switch {
	case f.Err != nil:
		return step
	case e.Err != nil:
		f.fail(e.Err)
		return step
	case e.Event == nil:
		if e.Offset > f.Image.Offset() {
			f.Image = f.Image.WithOffset(e.Offset)
		}
		step.After = f.Image
		f.checkHash(e)
		return step
	}
	next, delta, err := metadata.Apply(f.Image, metadata.Entry{Offset: e.Offset, Event: e.Event})
	if err != nil {
		f.fail(err)
		return step
	}
	f.Image, step.After, step.Delta = next, next, delta
	return step
}

// fail stops the fold; without the log's beginning a refused event is no contradiction, and the image just stays unknown.
func (f *Fold) fail(err error) {
	if f.Complete {
		f.Err = err
	}
}

// checkHash compares the image with the hash that the controller wrote into the log.
func (f *Fold) checkHash(e LogEntry) {
	if e.Type != TypeImageHash || !f.Complete || len(e.Value) == 0 {
		return
	}
	want := headerHash(e.Value)
	if got := f.Image.Hash().String(); got != want {
		f.Err = fmt.Errorf("entry %d: the image's hash is %s here and %s in the log", e.Offset, got, want)
	}
}
