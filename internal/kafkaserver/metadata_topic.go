package kafkaserver

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/twmb/franz-go/pkg/kerr"
)

// The metadata log as a topic: one partition, one entry per record, read only, served by every broker from its own copy. It is in no
// image, so it is not created, altered or deleted, and it takes no part in fetch sessions' eviction or in placement.

// metadataTopicEpoch is the leader epoch that clients see: none, because each broker serves its own copy and there is nothing to
// validate a position against.
const metadataTopicEpoch = -1

// maxEntriesPerBatch bounds one batch of entries.
const maxEntriesPerBatch = 1000

// lookMetadataLog takes stock for a fetch.
func (s *Server) lookMetadataLog(p *fetchPart) {
	start, end := s.deps.Meta.StartOffset(), s.deps.Meta.Commit()
	if p.offset < start || p.offset > end {
		p.settle(-1, -1, partition.ErrOutOfRange)
		return
	}
	p.settle(end, start, nil)
	p.available = (end - p.offset) * 256 // a guess; entries are small
}

// watchMetadataLog puts a token into wake when an entry at offset is committed, until ctx is done.
func (s *Server) watchMetadataLog(ctx context.Context, offset int64, wake chan struct{}) {
	if s.deps.Meta.WaitCommit(ctx, offset) != nil {
		return // the fetch is over, or the log is: then the fetch ends by its time
	}
	select {
	case wake <- struct{}{}:
	default:
	}
}

// readMetadataLog appends committed entries from an offset on as record batches, one per run of entries of an epoch.
func (s *Server) readMetadataLog(b []byte, from int64, maxBytes int, first bool) ([]byte, error) {
	begin := len(b)
	entries, _, err := s.deps.Meta.ReadEntries(from, max(maxBytes/2, 1)) // the other half is what the batch adds
	if err != nil {
		return b, fmt.Errorf("read metadata log from %d: %w", from, err)
	}
	for len(entries) > 0 {
		n := 1
		for n < len(entries) && n < maxEntriesPerBatch && entries[n].Epoch == entries[0].Epoch {
			n++
		}
		batch, err := entryBatch(entries[:n])
		if err != nil {
			return b, fmt.Errorf("read metadata log from %d: %w", entries[0].Offset, err)
		}
		obligatory := first && len(b) == begin
		if len(b)-begin+len(batch) > maxBytes && !obligatory {
			return b, nil
		}
		b = append(b, batch...)
		entries = entries[n:]
	}
	return b, nil
}

// entryBatch makes one record batch of consecutive entries of one epoch.
func entryBatch(entries []metalog.Entry) ([]byte, error) {
	builder := recordbatch.NewBuilder()
	builder.SetBaseOffset(entries[0].Offset)
	for i := range entries {
		e := &entries[i]
		key, timeMs := entryKey(e)
		builder.Append(timeMs, []byte(key), e.Payload,
			recordbatch.RecordHeader{Key: "type", Value: []byte(e.Type.String())},
			recordbatch.RecordHeader{Key: "hash", Value: []byte(hex.EncodeToString(e.Hash[:]))})
	}
	batch, err := builder.Build(recordbatch.None)
	if err != nil {
		return nil, err
	}
	recordbatch.PatchLeaderEpoch(batch, int32(entries[0].Epoch))
	return batch, nil
}

// entryKey is the entity that an entry is about, and when the controller appended it where it says so.
func entryKey(e *metalog.Entry) (string, int64) {
	if e.Type != metalog.EntryEvent && e.Type != metalog.EntryVoters {
		return e.Type.String(), recordbatch.NoTimestamp
	}
	ev, atMs, err := metadata.DecodeEventAt(e.Payload)
	if err != nil {
		return e.Type.String(), recordbatch.NoTimestamp // shown as it is; whoever applies it has stopped
	}
	if atMs == 0 {
		atMs = recordbatch.NoTimestamp
	}
	return ev.Key(), atMs
}

func init() {
	mapErrors(
		errorMapping{metalog.ErrNotController, kerr.NotController},
		errorMapping{metalog.ErrUnknownOutcome, kerr.RequestTimedOut},
		errorMapping{metalog.ErrBusy, kerr.RequestTimedOut},
		errorMapping{metalog.ErrClosed, kerr.NotController},
		errorMapping{metalog.ErrHalted, kerr.KafkaStorageError},
		errorMapping{metalog.ErrOffsetOutOfRange, kerr.OffsetOutOfRange},
		errorMapping{metalog.ErrVotersChange, kerr.InvalidRequest},
		errorMapping{metalog.ErrTooLarge, kerr.PolicyViolation},
		errorMapping{context.DeadlineExceeded, kerr.RequestTimedOut},
		errorMapping{context.Canceled, kerr.RequestTimedOut},
		errorMapping{errors.ErrUnsupported, kerr.UnsupportedVersion},
	)
}
