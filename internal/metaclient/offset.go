package metaclient

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/chronik-io/chronik/internal/cli"
)

// Position is a place in a partition as a user writes it.
type Position struct {
	kind  positionKind
	delta int64
	time  time.Time
}

type positionKind uint8

const (
	atStart  positionKind = iota // start, +N
	atEnd                        // end, -N
	atOffset                     // N
	atTime                       // @T
)

// Range is what to read: from a position up to another one, or on and on.
type Range struct {
	From    Position
	To      Position
	Bounded bool
}

// RangeHelp describes ranges in a command's help.
const RangeHelp = `start, end, N (offset), +N (after the start), -N (before the end), @TIME; FROM:TO stops at TO:
:end, 100:200, -10:end, @-1h:, @2026-01-02T15:04:05Z:@-5m. TIME is -1h, a date, RFC 3339 or Unix seconds or milliseconds.`

// ParseRange reads a range; now anchors relative times.
func ParseRange(s string, now time.Time) (Range, error) {
	r := Range{From: Position{kind: atStart}}
	from, to, ranged := cutRange(s)
	var err error
	if from != "" && (from != "@" || !ranged) {
		if r.From, err = ParsePosition(from, now); err != nil {
			return r, err
		}
	}
	if !ranged || to == "" {
		return r, nil
	}
	if strings.HasPrefix(from, "@") && !strings.HasPrefix(to, "@") && to != "end" && to != "start" {
		to = "@" + to
	}
	r.Bounded = true
	r.To, err = ParsePosition(to, now)
	return r, err
}

// cutRange splits at the colon between two positions, which is none of the colons inside a time.
func cutRange(s string) (from, to string, ranged bool) {
	for i := range len(s) {
		if s[i] != ':' {
			continue
		}
		if isDigit(s, i-1) && isDigit(s, i+1) && strings.ContainsRune(s[:i], 'T') && strings.HasPrefix(s, "@") && !strings.HasPrefix(s[i+1:], "@") && len(s[:i]) > 11 && strings.Count(s[:i], ":") < 2 {
			continue // hours and minutes of an RFC 3339 time
		}
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

func isDigit(s string, i int) bool { return i >= 0 && i < len(s) && s[i] >= '0' && s[i] <= '9' }

// ParsePosition reads one position.
func ParsePosition(s string, now time.Time) (Position, error) {
	switch {
	case s == "start" || s == "beginning" || s == "earliest":
		return Position{kind: atStart}, nil
	case s == "end" || s == "latest":
		return Position{kind: atEnd}, nil
	case strings.HasPrefix(s, "@"):
		t, err := ParseTime(s[1:], now)
		return Position{kind: atTime, time: t}, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return Position{}, cli.Usagef("%q is no offset: start, end, N, +N, -N or @TIME", s)
	}
	switch s[0] {
	case '+':
		return Position{kind: atStart, delta: n}, nil
	case '-':
		return Position{kind: atEnd, delta: n}, nil
	}
	return Position{kind: atOffset, delta: n}, nil
}

// ParseTime reads -1h, 2026-01-02, RFC 3339, Unix seconds or milliseconds.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if strings.HasPrefix(s, "-") {
		if d, err := parseSpan(s[1:]); err == nil {
			return now.Add(-d), nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		if len(s) <= 10 {
			return time.Unix(n, 0), nil
		}
		return time.UnixMilli(n), nil
	}
	return time.Time{}, cli.Usagef("%q is no time: -1h, 2026-01-02, 2026-01-02T15:04:05Z, Unix seconds or milliseconds", s)
}

// parseSpan is time.ParseDuration with days.
func parseSpan(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || n < 0 || n > 36_500 {
			return 0, fmt.Errorf("%q is no number of days", days)
		}
		return time.Duration(n * 24 * float64(time.Hour)), nil
	}
	d, err := time.ParseDuration(s)
	if err == nil && d < 0 {
		return 0, fmt.Errorf("%q is negative", s)
	}
	return d, err
}

// Span is the offsets of one partition that a range stands for; End is -1 when it is open.
type Span struct{ Start, End int64 }

// Resolve finds the offsets of a range in every partition of the topics.
func (c *Client) Resolve(ctx context.Context, r Range, topics ...string) (map[string]map[int32]Span, error) {
	starts, err := c.admin.ListStartOffsets(ctx, topics...)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, Explain("read start offsets", err)
	}
	ends, err := c.admin.ListEndOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, Explain("read end offsets", err)
	}
	place := func(p Position) (func(t string, n int32) int64, error) {
		var at kadm.ListedOffsets
		if p.kind == atTime {
			if at, err = c.admin.ListOffsetsAfterMilli(ctx, p.time.UnixMilli(), topics...); err == nil {
				err = at.Error()
			}
			if err != nil {
				return nil, Explain("look up offsets by time", err)
			}
		}
		return func(t string, n int32) int64 {
			start, _ := starts.Lookup(t, n)
			end, _ := ends.Lookup(t, n)
			var o int64
			switch p.kind {
			case atStart:
				o = start.Offset + p.delta
			case atEnd:
				o = end.Offset + p.delta
			case atOffset:
				return max(p.delta, start.Offset) // beyond the end is allowed: wait for it
			case atTime:
				l, _ := at.Lookup(t, n)
				if o = l.Offset; o < 0 {
					o = end.Offset
				}
			}
			return min(max(o, start.Offset), end.Offset)
		}, nil
	}
	from, err := place(r.From)
	if err != nil {
		return nil, err
	}
	to := func(string, int32) int64 { return -1 }
	if r.Bounded {
		if to, err = place(r.To); err != nil {
			return nil, err
		}
	}
	out := map[string]map[int32]Span{}
	ends.Each(func(l kadm.ListedOffset) {
		if out[l.Topic] == nil {
			out[l.Topic] = map[int32]Span{}
		}
		out[l.Topic][l.Partition] = Span{from(l.Topic, l.Partition), to(l.Topic, l.Partition)}
	})
	return out, nil
}
