package ctl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// listStream writes a JSON document with items as they come: one valid document whenever it is closed.
type listStream struct {
	w     io.Writer
	kind  string
	jsonl bool
	open  bool
	n     int
}

// Item writes one item.
func (s *listStream) Item(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	if s.jsonl {
		_, err := s.w.Write(b.Bytes())
		return err
	}
	lead := ",\n    "
	if s.n == 0 {
		lead = "\n    "
	}
	if err := s.begin(); err != nil {
		return err
	}
	s.n++
	_, err := fmt.Fprintf(s.w, "%s%s", lead, bytes.TrimRight(b.Bytes(), "\n"))
	return err
}

func (s *listStream) begin() error {
	if s.open || s.jsonl {
		return nil
	}
	s.open = true
	_, err := fmt.Fprintf(s.w, "{\n  \"kind\": %q,\n  \"version\": 1,\n  \"items\": [", s.kind)
	return err
}

// Close completes the document.
func (s *listStream) Close() error {
	if s.jsonl {
		return nil
	}
	if err := s.begin(); err != nil {
		return err
	}
	end := "\n  ]\n}\n"
	if s.n == 0 {
		end = "]\n}\n"
	}
	_, err := io.WriteString(s.w, end)
	return err
}
