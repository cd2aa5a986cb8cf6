package metalog

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// messageVersion is the first byte of every message.
const messageVersion = 1

// Flags of an encoded message: which of the optional parts follow.
const (
	messageFaulty = 1 << iota
	messageHasReport
	messageHasImage
	messageHasFault // of the report
)

// AppendMessage appends the bytes of a message; the table is in README.md.
func AppendMessage(dst []byte, m *Message) []byte {
	var flags byte
	if m.Faulty {
		flags |= messageFaulty
	}
	if m.Report != nil {
		flags |= messageHasReport
		if m.Report.Fault != nil {
			flags |= messageHasFault
		}
	}
	if m.Image != nil {
		flags |= messageHasImage
	}
	dst = append(dst, messageVersion, byte(m.Type), flags, 0)
	dst = appendMember(dst, m.From)
	dst = appendMember(dst, m.To)
	dst = binary.BigEndian.AppendUint64(dst, m.FromBoot)
	dst = binary.BigEndian.AppendUint64(dst, m.FromNonce)
	dst = appendBallot(dst, m.Ballot)
	switch m.Type {
	case MsgRefuse:
		dst = appendBallot(dst, m.Promised)
	case MsgAppend:
		dst = appendPosition(dst, m.Prev)
		dst = binary.BigEndian.AppendUint64(dst, uint64(m.Commit))
		dst = binary.BigEndian.AppendUint64(dst, uint64(m.LeaderEnd))
		dst = binary.BigEndian.AppendUint64(dst, m.ToNonce)
		dst = appendEntries(dst, m.Entries)
	case MsgAck, MsgNack:
		dst = binary.BigEndian.AppendUint64(dst, uint64(m.End))
		dst = binary.BigEndian.AppendUint64(dst, uint64(m.Commit))
	case MsgFetch:
		dst = binary.BigEndian.AppendUint64(dst, uint64(m.Offset))
		dst = binary.BigEndian.AppendUint32(dst, uint32(m.MaxBytes))
	case MsgFetched:
		dst = appendPosition(dst, m.Prev)
		dst = appendEntries(dst, m.Entries)
	}
	if m.Report != nil {
		dst = appendReport(dst, m.Report)
	}
	if m.Image != nil {
		dst = append(dst, encodeImageFile(m.Image)...)
	}
	return dst
}

func appendEntries(dst []byte, entries []Entry) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(entries)))
	for i := range entries {
		dst = appendEntry(dst, &entries[i])
	}
	return dst
}

func appendReport(dst []byte, r *Report) []byte {
	dst = appendPosition(dst, r.Last)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Start))
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Commit))
	if r.Fault != nil {
		dst = binary.BigEndian.AppendUint64(dst, uint64(r.Fault.From))
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Voters.Offset))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(r.Voters.Members)))
	for _, v := range r.Voters.Members {
		dst = appendMember(dst, v)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(r.Lineage)))
	for _, s := range r.Lineage {
		dst = binary.BigEndian.AppendUint64(dst, s.Epoch)
		dst = binary.BigEndian.AppendUint64(dst, uint64(s.Start))
	}
	return dst
}

// messageReader reads fields and remembers whether there were enough bytes.
type messageReader struct {
	b   []byte
	bad bool
}

// take returns the next n bytes; zeros once there are too few.
func (r *messageReader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return make([]byte, min(max(n, 0), ballotSize+positionSize))
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *messageReader) u64() uint64        { return binary.BigEndian.Uint64(r.take(8)) }
func (r *messageReader) i64() int64         { return int64(r.u64()) }
func (r *messageReader) u32() uint32        { return binary.BigEndian.Uint32(r.take(4)) }
func (r *messageReader) member() Member     { return decodeMember(r.take(20)) }
func (r *messageReader) position() Position { return decodePosition(r.take(positionSize)) }

func (r *messageReader) ballot() Ballot {
	b, _ := decodeBallot(r.take(ballotSize)) // the length is right
	return b
}

// count reads a number of items of at least size bytes each: never more than the bytes could hold.
func (r *messageReader) count(size, most int) int {
	n := int(r.u32())
	if r.bad || n > most || n*size > len(r.b) {
		r.bad = true
		return 0
	}
	return n
}

// DecodeMessage reads a message. It keeps nothing of b.
func DecodeMessage(b []byte) (*Message, error) {
	if len(b) < 4 || b[0] != messageVersion || b[3] != 0 {
		return nil, fmt.Errorf("decode message: %w: header", errMalformed)
	}
	m := &Message{Type: MessageType(b[1]), Faulty: b[2]&messageFaulty != 0}
	if m.Type < MsgFence || m.Type > MsgInstall {
		return nil, fmt.Errorf("decode message: %w: type %d", errMalformed, m.Type)
	}
	flags := b[2]
	r := &messageReader{b: b[4:]}
	m.From, m.To = r.member(), r.member()
	m.FromBoot, m.FromNonce = r.u64(), r.u64()
	m.Ballot = r.ballot()
	var err error
	switch m.Type {
	case MsgRefuse:
		m.Promised = r.ballot()
	case MsgAppend:
		m.Prev, m.Commit, m.LeaderEnd, m.ToNonce = r.position(), r.i64(), r.i64(), r.u64()
		m.Entries, err = r.entries()
	case MsgAck, MsgNack:
		m.End, m.Commit = r.i64(), r.i64()
	case MsgFetch:
		m.Offset, m.MaxBytes = r.i64(), int32(r.u32())
	case MsgFetched:
		m.Prev = r.position()
		m.Entries, err = r.entries()
	}
	if err != nil {
		return nil, fmt.Errorf("decode message: %w", err)
	}
	if flags&messageHasReport != 0 {
		m.Report = r.report(flags&messageHasFault != 0)
	}
	if flags&messageHasImage != 0 && !r.bad {
		if m.Image, err = decodeImageFile(bytes.Clone(r.b)); err != nil {
			return nil, fmt.Errorf("decode message: %w", err)
		}
		r.b = nil
	}
	if r.bad || len(r.b) > 0 {
		return nil, fmt.Errorf("decode message of type %d: %w: %d bytes", m.Type, errMalformed, len(b))
	}
	return m, nil
}

func (r *messageReader) entries() ([]Entry, error) {
	n := r.count(entryHeaderSize, 1<<20)
	if n == 0 {
		return nil, nil
	}
	entries := make([]Entry, n)
	for i := range entries {
		var err error
		if entries[i], r.b, err = decodeEntry(r.b); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

func (r *messageReader) report(fault bool) *Report {
	p := &Report{Last: r.position(), Start: r.i64(), Commit: r.i64()}
	if fault {
		p.Fault = &Fault{From: r.i64()}
	}
	p.Voters.Offset = r.i64()
	for range r.count(20, maxVoters) {
		p.Voters.Members = append(p.Voters.Members, r.member())
	}
	for range r.count(16, maxLineage) {
		p.Lineage = append(p.Lineage, EpochSpan{Epoch: r.u64(), Start: r.i64()})
	}
	return p
}
