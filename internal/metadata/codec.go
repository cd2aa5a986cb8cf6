package metadata

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/chronik-io/chronik/internal/uuid"
)

// An event in the log is one JSON object that begins with its type and version, in this spelling:
//
//	{"type":"TopicCreated","v":1,"name":"orders",...}
//
// In the log the time follows at which the controller appended it, in Unix milliseconds, for whoever reads the log; nothing is decided by
// it, so it is in no image:
//
//	{"type":"TopicCreated","v":1,"at":1767366245123,"name":"orders",...}
//
// Writing is by hand, as it is on the path of every change; there is one spelling per content. Reading is strict: fields that the
// version does not have are an error.

// AppendEvent appends the event's JSON to dst, without a time.
func AppendEvent(dst []byte, ev Event) []byte { return AppendEventAt(dst, ev, 0) }

// AppendEventAt appends the event's JSON to dst with the time of its entry; 0 is none.
func AppendEventAt(dst []byte, ev Event, atMs int64) []byte {
	dst = append(dst, `{"type":"`...)
	dst = append(dst, ev.Type()...)
	dst = append(dst, `","v":`...)
	dst = strconv.AppendInt(dst, int64(ev.Version()), 10)
	if atMs > 0 {
		dst = append(dst, `,"at":`...)
		dst = strconv.AppendInt(dst, atMs, 10)
	}
	w := jsonWriter{buf: dst, open: true}
	ev.appendFields(&w)
	return append(w.buf, '}')
}

// DecodeEvent reads an event written by AppendEvent. ErrUnknownEvent means that this build is older than the log: whoever applies the
// log must stop.
func DecodeEvent(b []byte) (Event, error) {
	ev, _, err := DecodeEventAt(b)
	return ev, err
}

// DecodeEventAt reads an event and the time of its entry in Unix milliseconds, 0 if there is none.
func DecodeEventAt(b []byte) (Event, int64, error) {
	rest, ok := bytes.CutPrefix(b, []byte(`{"type":"`))
	if !ok {
		return nil, 0, fmt.Errorf("decode event: %w: no type at the front", ErrMalformed)
	}
	name, rest, ok := bytes.Cut(rest, []byte(`","v":`))
	if !ok {
		return nil, 0, fmt.Errorf("decode event: %w: no version after the type", ErrMalformed)
	}
	version, rest, ok := cutNumber(rest)
	if !ok {
		return nil, 0, fmt.Errorf("decode event %q: %w: version", name, ErrMalformed)
	}
	t, ok := eventTypes[string(name)]
	if !ok || int64(t.version) != version {
		return nil, 0, fmt.Errorf("decode event %q version %d: %w", name, version, ErrUnknownEvent)
	}
	var atMs int64
	if at, timed := bytes.CutPrefix(rest, []byte(`,"at":`)); timed {
		if atMs, rest, ok = cutNumber(at); !ok {
			return nil, 0, fmt.Errorf("decode event %q version %d: %w: time", name, version, ErrMalformed)
		}
	}
	if ev, ok := readFast(string(name), rest); ok {
		return ev, atMs, nil
	}
	fields := make([]byte, 0, len(rest)+1)
	fields = append(fields, '{')
	fields = append(fields, bytes.TrimPrefix(rest, []byte(","))...)
	ev, err := t.decode(fields)
	if err != nil {
		return nil, 0, fmt.Errorf("decode event %q version %d: %w: %w", name, version, ErrMalformed, err)
	}
	return ev, atMs, nil
}

// cutNumber takes the digits off the front.
func cutNumber(b []byte) (n int64, rest []byte, ok bool) {
	digits := 0
	for digits < len(b) && b[digits] >= '0' && b[digits] <= '9' {
		digits++
	}
	n, err := strconv.ParseInt(string(b[:digits]), 10, 64)
	return n, b[digits:], err == nil
}

func strictUnmarshal(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("bytes behind the object")
	}
	return nil
}

// jsonWriter appends the fields of one object in the order given. open says that a field stands before the next one.
type jsonWriter struct {
	buf  []byte
	open bool
}

func (w *jsonWriter) name(name string) {
	if w.open {
		w.buf = append(w.buf, ',')
	}
	w.open = true
	w.buf = append(w.buf, '"')
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, `":`...)
}

func (w *jsonWriter) int(name string, v int64) {
	w.name(name)
	w.buf = strconv.AppendInt(w.buf, v, 10)
}

func (w *jsonWriter) bool(name string, v bool) {
	w.name(name)
	w.buf = strconv.AppendBool(w.buf, v)
}

func (w *jsonWriter) str(name, v string) {
	w.name(name)
	w.buf = appendString(w.buf, v)
}

func (w *jsonWriter) uuid(name string, v uuid.UUID) { w.str(name, v.String()) }

func (w *jsonWriter) ints(name string, v []int32) {
	w.name(name)
	w.buf = appendList(w.buf, v, func(b []byte, n int32) []byte { return strconv.AppendInt(b, int64(n), 10) })
}

func (w *jsonWriter) longs(name string, v []int64) {
	w.name(name)
	w.buf = appendList(w.buf, v, func(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) })
}

func (w *jsonWriter) strings(name string, v []string) {
	w.name(name)
	w.buf = appendList(w.buf, v, appendString)
}

func (w *jsonWriter) stringMap(name string, m map[string]string) {
	w.name(name)
	w.buf = append(w.buf, '{')
	for i, k := range sortedKeys(m) {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.buf = append(appendString(w.buf, k), ':')
		w.buf = appendString(w.buf, m[k])
	}
	w.buf = append(w.buf, '}')
}

func (w *jsonWriter) levelMap(name string, m map[string]int16) {
	w.name(name)
	w.buf = append(w.buf, '{')
	for i, k := range sortedKeys(m) {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.buf = append(appendString(w.buf, k), ':')
		w.buf = strconv.AppendInt(w.buf, int64(m[k]), 10)
	}
	w.buf = append(w.buf, '}')
}

// objects appends a list of objects, each written by fields.
func objects[T any](w *jsonWriter, name string, list []T, fields func(w *jsonWriter, v *T)) {
	w.name(name)
	w.buf = append(w.buf, '[')
	for i := range list {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.buf = append(w.buf, '{')
		w.open = false
		fields(w, &list[i])
		w.buf = append(w.buf, '}')
	}
	w.buf = append(w.buf, ']')
	w.open = true
}

func appendList[T any](b []byte, list []T, one func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = one(b, v)
	}
	return append(b, ']')
}

// appendString appends a JSON string. The bytes are valid UTF-8: Apply and the controller refuse others.
func appendString(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil { // Marshal of a string does not fail
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func sortedKeys[V any](m map[string]V) []string {
	if len(m) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(m))
}
