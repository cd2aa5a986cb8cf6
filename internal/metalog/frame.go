package metalog

import (
	"encoding/binary"
	"fmt"
)

// FrameKind says what a frame in the log's files is. The kinds are those of wal records.
type FrameKind uint8

// The kinds of frames. Entries are the log; all others concern this node only.
const (
	// FrameEntry is an entry appended at the end.
	FrameEntry FrameKind = 16
	// FramePromise: nothing of a lower ballot is accepted any more.
	FramePromise FrameKind = 17
	// FrameTruncate: the log now ends at Offset. Bytes are never cut from files.
	FrameTruncate FrameKind = 18
	// FrameFault: entries from Offset on may have been lost, and the log was cut there.
	FrameFault FrameKind = 19
	// FrameClear: the fault is repaired.
	FrameClear FrameKind = 20
	// FrameReset: the log now is the image at At and nothing else.
	FrameReset FrameKind = 21
	// FramePeer: the highest boot of another member that was heard.
	FramePeer FrameKind = 22
	// FrameBoot: a start of this member's own process.
	FrameBoot FrameKind = 23
)

// PeerBoot names a process of a member.
type PeerBoot struct {
	Member Member
	Boot   uint64
	Nonce  uint64
}

// Frame is one thing to write. Which fields are used depends on Kind.
type Frame struct {
	Kind   FrameKind
	Known  int64 // the commit as known when the frame was made, in every frame
	Entry  Entry
	Ballot Ballot
	Offset int64
	At     Position
	Peer   PeerBoot
}

// Every record begins with the known commit and the time of writing; entries or the fields of the frame follow.
const frameHeaderSize = 16

func appendFrameHeader(dst []byte, known, nowMs int64) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(known))
	return binary.BigEndian.AppendUint64(dst, uint64(nowMs))
}

// frameTime is the Unix time in milliseconds at which a record was written.
func frameTime(b []byte) int64 {
	if len(b) < frameHeaderSize {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b[8:]))
}

// appendFrame appends the payload of the wal record of a frame that is not an entry.
func appendFrame(dst []byte, f *Frame, nowMs int64) []byte {
	dst = appendFrameHeader(dst, f.Known, nowMs)
	switch f.Kind {
	case FramePromise:
		dst = appendBallot(dst, f.Ballot)
	case FrameTruncate, FrameFault:
		dst = binary.BigEndian.AppendUint64(dst, uint64(f.Offset))
	case FrameReset:
		dst = appendPosition(dst, f.At)
	case FramePeer, FrameBoot:
		dst = appendMember(dst, f.Peer.Member)
		dst = binary.BigEndian.AppendUint64(dst, f.Peer.Boot)
		dst = binary.BigEndian.AppendUint64(dst, f.Peer.Nonce)
	}
	return dst
}

func appendPosition(dst []byte, p Position) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.End))
	dst = binary.BigEndian.AppendUint64(dst, p.Epoch)
	return append(dst, p.Hash[:]...)
}

const positionSize = 8 + 8 + HashSize

func decodePosition(b []byte) Position {
	return Position{End: int64(binary.BigEndian.Uint64(b)), Epoch: binary.BigEndian.Uint64(b[8:]), Hash: Hash(b[16 : 16+HashSize])}
}

// decodeFrames reads the payload of a wal record and calls fn for each frame in it. The frame is reused.
func decodeFrames(kind uint8, b []byte, fn func(f *Frame) error) error {
	if len(b) < frameHeaderSize {
		return fmt.Errorf("decode frame of kind %d: %w: %d bytes", kind, errMalformed, len(b))
	}
	f := Frame{Kind: FrameKind(kind), Known: int64(binary.BigEndian.Uint64(b))}
	b = b[frameHeaderSize:]
	want := 0
	switch f.Kind {
	case FrameEntry:
		for len(b) > 0 {
			var err error
			if f.Entry, b, err = decodeEntry(b); err != nil {
				return err
			}
			if err := fn(&f); err != nil {
				return err
			}
		}
		return nil
	case FramePromise:
		want = ballotSize
	case FrameTruncate, FrameFault:
		want = 8
	case FrameClear:
	case FrameReset:
		want = positionSize
	case FramePeer, FrameBoot:
		want = 4 + 16 + 16
	default:
		return fmt.Errorf("decode frame: %w: unknown kind %d", errMalformed, kind)
	}
	if len(b) != want {
		return fmt.Errorf("decode frame of kind %d: %w: %d bytes instead of %d", kind, errMalformed, len(b), want)
	}
	switch f.Kind {
	case FramePromise:
		f.Ballot, _ = decodeBallot(b) // the length is right
	case FrameTruncate, FrameFault:
		f.Offset = int64(binary.BigEndian.Uint64(b))
	case FrameReset:
		f.At = decodePosition(b)
	case FramePeer, FrameBoot:
		f.Peer = PeerBoot{Member: decodeMember(b), Boot: binary.BigEndian.Uint64(b[20:]), Nonce: binary.BigEndian.Uint64(b[28:])}
	}
	return fn(&f)
}
