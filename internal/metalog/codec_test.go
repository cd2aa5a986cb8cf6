package metalog

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/chronik-io/chronik/internal/uuid"
)

func memberN(n int) Member { return Member{NodeID: int32(n), DiskID: uuid.UUID{1, 15: byte(n)}} }

func ballotN(term uint64, n int) Ballot { return Ballot{Term: term, Member: memberN(n), Nonce: 77} }

// chainOf makes entries of the given epochs, from a position on.
func chainOf(at Position, epochs ...uint64) []Entry {
	var out []Entry
	for _, epoch := range epochs {
		e := Entry{Type: EntryNoop, Epoch: epoch, Offset: at.End, PrevHash: at.Hash, Payload: []byte{byte(at.End), byte(epoch)}}
		e.Hash = EntryHash(&e)
		at = Position{End: e.Offset + 1, Epoch: epoch, Hash: e.Hash}
		out = append(out, e)
	}
	return out
}

func everyMessage() []*Message {
	entries := chainOf(Position{}, 1, 1, 2)
	report := &Report{Last: Position{3, 2, entries[2].Hash}, Start: 1, Commit: 2, Lineage: []EpochSpan{{1, 0}, {2, 2}},
		Voters: VoterSet{Offset: -1, Members: []Member{memberN(1), memberN(2)}}, Fault: &Fault{From: 1}}
	image := &ImageFile{Meta: ImageMeta{At: report.Last, Lineage: report.Lineage, Voters: report.Voters}, Data: []byte("image")}
	base := Message{From: memberN(1), To: memberN(2), FromBoot: 3, FromNonce: 4, Ballot: ballotN(9, 1)}
	var all []*Message
	add := func(t MessageType, set func(m *Message)) {
		m := base
		m.Type = t
		set(&m)
		all = append(all, &m)
	}
	add(MsgFence, func(*Message) {})
	add(MsgPromise, func(m *Message) { m.Report = report })
	add(MsgRefuse, func(m *Message) { m.Promised = ballotN(10, 2) })
	add(MsgAppend, func(m *Message) {
		m.Prev, m.Entries, m.Commit, m.LeaderEnd, m.ToNonce = Position{}, entries, 2, 3, 5
	})
	add(MsgAck, func(m *Message) { m.End, m.Faulty = 3, true })
	add(MsgNack, func(m *Message) { m.End, m.Commit = 3, 1 })
	add(MsgFetch, func(m *Message) { m.Offset, m.MaxBytes = 7, 8 })
	add(MsgFetched, func(m *Message) { m.Entries = entries })
	add(MsgInstall, func(m *Message) { m.Image = image })
	return all
}

func TestMessagesSurviveTheWire(t *testing.T) {
	for _, m := range everyMessage() {
		b := AppendMessage(nil, m)
		got, err := DecodeMessage(b)
		if err != nil {
			t.Fatalf("type %d: %v", m.Type, err)
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("type %d:\n got %+v\nwant %+v", m.Type, got, m)
		}
		for cut := range b {
			if _, err := DecodeMessage(b[:cut]); err == nil {
				t.Errorf("type %d: %d of %d bytes are a message too", m.Type, cut, len(b))
			}
		}
	}
}

func FuzzDecodeMessage(f *testing.F) {
	for _, m := range everyMessage() {
		f.Add(AppendMessage(nil, m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMessage(b)
		if err != nil {
			return
		}
		again, err := DecodeMessage(AppendMessage(nil, m))
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("read %+v, written and read %+v: %v", m, again, err)
		}
	})
}

func everyFrame() []Frame {
	e := chainOf(Position{}, 3)[0]
	return []Frame{
		{Kind: FrameEntry, Known: 4, Entry: e},
		{Kind: FramePromise, Known: 4, Ballot: ballotN(5, 1)},
		{Kind: FrameTruncate, Offset: 12},
		{Kind: FrameFault, Offset: 13},
		{Kind: FrameClear, Known: 1},
		{Kind: FrameReset, At: Position{9, 3, e.Hash}},
		{Kind: FramePeer, Peer: PeerBoot{memberN(2), 3, 4}},
		{Kind: FrameBoot, Peer: PeerBoot{memberN(1), 5, 6}},
	}
}

func encodeFrame(f *Frame) []byte {
	if f.Kind == FrameEntry {
		return appendEntry(appendFrameHeader(nil, f.Known, 99), &f.Entry)
	}
	return appendFrame(nil, f, 99)
}

func TestFramesSurviveTheDisk(t *testing.T) {
	for _, f := range everyFrame() {
		b := encodeFrame(&f)
		if frameTime(b) != 99 {
			t.Errorf("kind %d: time %d", f.Kind, frameTime(b))
		}
		var got []Frame
		if err := decodeFrames(uint8(f.Kind), b, func(g *Frame) error { got = append(got, *g); return nil }); err != nil {
			t.Fatalf("kind %d: %v", f.Kind, err)
		}
		if len(got) != 1 || !reflect.DeepEqual(got[0], f) {
			t.Errorf("kind %d:\n got %+v\nwant %+v", f.Kind, got, f)
		}
	}
	if err := decodeFrames(99, make([]byte, frameHeaderSize), func(*Frame) error { return nil }); err == nil {
		t.Error("an unknown kind is no error")
	}
}

func FuzzDecodeFrames(f *testing.F) {
	for _, fr := range everyFrame() {
		f.Add(uint8(fr.Kind), encodeFrame(&fr))
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		_ = decodeFrames(kind, b, func(fr *Frame) error { // any error will do, but no panic
			if fr.Kind == FrameEntry && fr.Entry.Hash != EntryHash(&fr.Entry) {
				t.Fatal("an entry with another hash")
			}
			return nil
		})
	})
}

func TestEveryBitOfAnEntryCounts(t *testing.T) {
	b := appendEntry(nil, &chainOf(Position{}, 3)[0])
	for i := range b {
		for bit := range 8 {
			bad := bytes.Clone(b)
			bad[i] ^= 1 << bit
			if _, _, err := decodeEntry(bad); err == nil {
				t.Fatalf("byte %d bit %d may flip", i, bit)
			}
		}
	}
}
