package kafkaserver

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
)

// What is forwarded, big endian, strings and bytes after a length of 4 bytes (-1 for null):
//
//	request       version 1 | 1 | api key 2 | api version 2 | client id | principal | host | body
//	creation      version 1 | 2 | count 4 | names
//	producer ids  version 1 | 3 | broker 4 | broker epoch 8 | count 4
//	answer        version 1 | status 1 | metadata offset 8 | body
//
// The body of a request and of its answer is Kafka's, without headers. The answer to a creation lists name, topic id, error code and
// message, the one to producer ids first and next.
const forwardVersion = 1

type forwardKind uint8

const (
	forwardRequest     forwardKind = 1
	forwardCreate      forwardKind = 2
	forwardProducerIDs forwardKind = 3
)

type forwardedStatus uint8

const (
	forwardedDone          forwardedStatus = 1
	forwardedNotController forwardedStatus = 2 // nothing was done
	forwardedUnknown       forwardedStatus = 3 // it may have been done
	forwardedUnserved      forwardedStatus = 4 // nothing was done, nor will be
)

// maxForwardedTopics bounds the topics of one creation: as many as the frame of a Metadata request may name.
const maxForwardedTopics = 1 << 20

var errForwarded = errors.New("malformed forwarded request")

// forwarded is a decoded request of another node. body aliases what was decoded.
type forwarded struct {
	kind         forwardKind
	key, version int16
	clientID     *string
	principal    string
	host         string
	body         []byte
	names        []string
	broker       int32
	epoch        int64
	count        int
}

func appendInt64(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

func appendForwardedRequest(b []byte, r *request, body []byte) []byte {
	b = append(b, forwardVersion, byte(forwardRequest))
	b = binary.BigEndian.AppendUint16(b, uint16(r.key))
	b = binary.BigEndian.AppendUint16(b, uint16(r.version))
	if r.clientID == nil {
		b = binary.BigEndian.AppendUint32(b, 0xffffffff)
	} else {
		b = appendText(b, *r.clientID)
	}
	b = appendText(b, "") // the principal: without authentication everybody is nobody
	b = appendText(b, r.host)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

func appendForwardedCreation(b []byte, names []string) []byte {
	b = append(b, forwardVersion, byte(forwardCreate))
	b = binary.BigEndian.AppendUint32(b, uint32(len(names)))
	for _, n := range names {
		b = appendText(b, n)
	}
	return b
}

func appendForwardedProducerIDs(b []byte, broker int32, epoch int64, count int) []byte {
	b = append(b, forwardVersion, byte(forwardProducerIDs))
	b = binary.BigEndian.AppendUint32(b, uint32(broker))
	b = appendInt64(b, epoch)
	return binary.BigEndian.AppendUint32(b, uint32(count))
}

func decodeForwarded(b []byte) (*forwarded, error) {
	d := forwardReader{b: b}
	if v := d.uint8(); v != forwardVersion {
		return nil, fmt.Errorf("%w: version %d", errForwarded, v)
	}
	f := &forwarded{kind: forwardKind(d.uint8())}
	switch f.kind {
	case forwardRequest:
		f.key, f.version = int16(d.uint16()), int16(d.uint16())
		if id, ok := d.nullable(); ok {
			s := string(id)
			f.clientID = &s
		}
		f.principal, f.host, f.body = string(d.bytes()), string(d.bytes()), d.bytes()
	case forwardCreate:
		n := d.count(4, maxForwardedTopics)
		f.names = make([]string, 0, n)
		for range n {
			f.names = append(f.names, string(d.bytes()))
		}
	case forwardProducerIDs:
		f.broker, f.epoch, f.count = int32(d.uint32()), d.int64(), int(int32(d.uint32()))
	default:
		return nil, fmt.Errorf("%w: kind %d", errForwarded, f.kind)
	}
	return f, d.end()
}

// forwardedAnswer is a decoded answer. body aliases what was decoded.
type forwardedAnswer struct {
	status forwardedStatus
	offset int64
	body   []byte
}

func appendForwardedAnswer(b []byte, status forwardedStatus, offset int64, body []byte) []byte {
	b = append(b, forwardVersion, byte(status))
	return append(appendInt64(b, offset), body...)
}

func decodeForwardedAnswer(b []byte) (forwardedAnswer, error) {
	d := forwardReader{b: b}
	if v := d.uint8(); v != forwardVersion {
		return forwardedAnswer{}, fmt.Errorf("%w: answer of version %d", errForwarded, v)
	}
	a := forwardedAnswer{status: forwardedStatus(d.uint8()), offset: d.int64(), body: d.b}
	d.b = nil
	return a, d.end()
}

func appendCreated(b []byte, results []controller.TopicResult) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(results)))
	for i := range results {
		r := &results[i]
		b = appendText(b, r.Name)
		b = append(b, r.ID[:]...)
		b = binary.BigEndian.AppendUint16(b, uint16(errorCode(r.Err)))
		text := ""
		if r.Err != nil {
			text = r.Err.Error()
		}
		b = appendText(b, text)
	}
	return b
}

// decodeCreated reads the answer to a creation. Errors come back as those of their Kafka code.
func decodeCreated(b []byte) ([]controller.TopicResult, error) {
	d := forwardReader{b: b}
	n := d.count(4+16+2+4, maxForwardedTopics)
	results := make([]controller.TopicResult, 0, n)
	for range n {
		r := controller.TopicResult{Name: string(d.bytes()), ID: uuid.UUID(d.fixed16())}
		code, text := int16(d.uint16()), string(d.bytes())
		if code != 0 {
			r.Err = fmt.Errorf("%w: %s", kerr.ErrorForCode(code), text)
		}
		results = append(results, r)
	}
	return results, d.end()
}

// forwardReader reads what nodes send each other; after the first field that is not there everything is zero.
type forwardReader struct {
	b   []byte
	bad bool
}

func (d *forwardReader) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.b) {
		d.bad = true
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *forwardReader) uint8() uint8 {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *forwardReader) uint16() uint16 {
	if b := d.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (d *forwardReader) uint32() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *forwardReader) int64() int64 {
	if b := d.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (d *forwardReader) fixed16() (id [16]byte) {
	copy(id[:], d.take(16))
	return id
}

// nullable reads bytes; false is null.
func (d *forwardReader) nullable() ([]byte, bool) {
	n := int32(d.uint32())
	if n == -1 {
		return nil, false
	}
	return d.take(int(n)), !d.bad
}

func (d *forwardReader) bytes() []byte {
	b, ok := d.nullable()
	if !ok {
		d.bad = true
	}
	return b
}

// count reads a number of elements of at least size bytes each.
func (d *forwardReader) count(size, most int) int {
	n := int(int32(d.uint32()))
	if n < 0 || n > most || n*size > len(d.b) {
		d.bad = true
		return 0
	}
	return n
}

// end is nil if everything was there and nothing is left.
func (d *forwardReader) end() error {
	if d.bad || len(d.b) > 0 {
		return errForwarded
	}
	return nil
}
