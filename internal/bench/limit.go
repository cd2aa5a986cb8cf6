package bench

import (
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/config"
)

// Settings that bound a record, smaller ones first: the batch, the segment that holds it, and the request that carries it.
const (
	limitBatch   = "max.message.bytes"
	limitSegment = "segment.bytes"
	limitRequest = "socket.request.max.bytes"
)

// batchOverhead is what a batch holds besides keys and values of its records, in bytes; a record adds a few.
const batchOverhead = 61

// limit is a setting that bounds a record.
type limit struct {
	name  string
	where string // "of topic orders"
	bytes int64
}

// String names the setting and its value.
func (l limit) String() string { return fmt.Sprintf("%s %s is %d", l.name, l.where, l.bytes) }

// noteLimit keeps a setting if it bounds a record.
func (r *run) noteLimit(name, value, where string) {
	if n, err := strconv.ParseInt(value, 10, 64); err == nil && (name == limitBatch || name == limitSegment || name == limitRequest) {
		r.limits = append(r.limits, limit{name, where, n})
	}
}

// checkSize refuses a run whose every record would be refused. Compressed records may be smaller than they look: only the broker knows.
func (r *run) checkSize() error {
	if r.o.Compression != "none" || r.o.Mode == modeMetadata || r.o.Mode == modeConsume && !r.ownTopic {
		return nil
	}
	least := int64(r.o.size) + batchOverhead
	for _, name := range []string{limitBatch, limitSegment, limitRequest} {
		for _, l := range r.limits {
			if l.name != name || least <= l.bytes {
				continue
			}
			e := cli.Failf("records of %s are too large for the broker (%s): %s", cli.Bytes(int64(r.o.size)), kerr.MessageTooLarge.Message, l)
			switch {
			case name == limitRequest:
				return e.WithNext("a smaller --message-size")
			case least+1024 > config.LargestBatch: // a setting does not help
				return e.WithNext("a smaller --message-size: Chronik takes batches of at most %d bytes, whatever %s is", config.LargestBatch, name)
			case r.ownTopic:
				return e.WithNext("--topic-config %s=%d   (or a smaller --message-size)", name, least+1024)
			}
			return e.WithNext("a smaller --message-size, or a topic with %s of at least %d", name, least+1024)
		}
	}
	return nil
}

// explainErrors lists what failed, most frequent first, with the limit where one is the cause.
func (r *run) explainErrors() string {
	text := r.errors.String()
	if r.errors[kerr.MessageTooLarge.Message] == 0 {
		return text
	}
	var l limit // the smallest
	for _, x := range r.limits {
		if x.name != limitRequest && (l.name == "" || x.bytes < l.bytes) {
			l = x
		}
	}
	switch {
	case l.name == "":
		return text
	case l.bytes > config.LargestBatch:
		return fmt.Sprintf("%s (%s, but Chronik takes batches of at most %d bytes)", text, l, config.LargestBatch)
	case int64(r.o.size)+batchOverhead <= l.bytes:
		return fmt.Sprintf("%s (the broker has a limit of its own below: %s)", text, l)
	}
	return fmt.Sprintf("%s (%s)", text, l)
}
