package ctl

import (
	"bufio"
	"encoding/base64"
	"io"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-io/chronik/internal/cli"
)

// recordPrinter prints records as text or as JSON, through one buffer.
type recordPrinter struct {
	w      *bufio.Writer
	text   *kgo.RecordFormatter
	stream *listStream
	buf    []byte
}

func newRecordPrinter(w io.Writer, f cli.Format, layout string) (*recordPrinter, error) {
	p := &recordPrinter{w: bufio.NewWriterSize(w, 64<<10)}
	if f == cli.JSON || f == cli.JSONL {
		p.stream = &listStream{w: p.w, kind: "RecordList", jsonl: f == cli.JSONL}
		return p, nil
	}
	text, err := kgo.NewRecordFormatter(layout)
	if err != nil {
		return nil, cli.Usagef("-f %q: %v", layout, err)
	}
	p.text = text
	return p, nil
}

// Print adds one record.
func (p *recordPrinter) Print(r *kgo.Record) error {
	if p.stream != nil {
		return p.stream.Item(newRecordDoc(r))
	}
	p.buf = p.text.AppendRecord(p.buf[:0], r)
	_, err := p.w.Write(p.buf)
	return err
}

// Flush hands over what is buffered.
func (p *recordPrinter) Flush() error { return p.w.Flush() }

// Close completes a JSON document.
func (p *recordPrinter) Close() error {
	if p.stream != nil {
		if err := p.stream.Close(); err != nil {
			return err
		}
	}
	return p.w.Flush()
}

// recordDoc is a record as JSON. Bytes that are no UTF-8 are base64, and the encoding field says so.
type recordDoc struct {
	Topic         string      `json:"topic"`
	Partition     int32       `json:"partition"`
	Offset        int64       `json:"offset"`
	Timestamp     string      `json:"timestamp"`
	LeaderEpoch   int32       `json:"leaderEpoch"`
	Key           *string     `json:"key"`
	KeyEncoding   string      `json:"keyEncoding,omitempty"`
	Value         *string     `json:"value"`
	ValueEncoding string      `json:"valueEncoding,omitempty"`
	Headers       []headerDoc `json:"headers,omitempty"`
}

type headerDoc struct {
	Key           string  `json:"key"`
	Value         *string `json:"value"`
	ValueEncoding string  `json:"valueEncoding,omitempty"`
}

func newRecordDoc(r *kgo.Record) recordDoc {
	d := recordDoc{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, LeaderEpoch: r.LeaderEpoch, Timestamp: r.Timestamp.UTC().Format(time.RFC3339Nano)}
	d.Key, d.KeyEncoding = textOrBase64(r.Key)
	d.Value, d.ValueEncoding = textOrBase64(r.Value)
	for _, h := range r.Headers {
		hd := headerDoc{Key: h.Key}
		hd.Value, hd.ValueEncoding = textOrBase64(h.Value)
		d.Headers = append(d.Headers, hd)
	}
	return d
}

func textOrBase64(b []byte) (*string, string) {
	if b == nil {
		return nil, ""
	}
	if utf8.Valid(b) {
		s := string(b)
		return &s, ""
	}
	s := base64.StdEncoding.EncodeToString(b)
	return &s, "base64"
}
