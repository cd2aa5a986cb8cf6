package group

import (
	"errors"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The bytes are those of Kafka: its tools read them.
func TestRecordsAreKafkas(t *testing.T) {
	key := offsetKey("g", "t", 3)
	if want := "\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x03"; string(key) != want {
		t.Errorf("offset key %q", key)
	}
	o := offset{offset: 5, leaderEpoch: 2, metadata: "m", commitMs: 7, expireMs: -1}
	if want := "\x00\x03\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x02\x00\x01m\x00\x00\x00\x00\x00\x00\x00\x07"; string(o.encode()) != want {
		t.Errorf("offset value %q", o.encode())
	}
	o.expireMs = 9
	if want := "\x00\x01\x00\x00\x00\x00\x00\x00\x00\x05\x00\x01m\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x09"; string(o.encode()) != want {
		t.Errorf("offset value with an expiry %q", o.encode())
	}
	if want := "\x00\x02\x00\x01g"; string(groupKey("g")) != want {
		t.Errorf("group key %q", groupKey("g"))
	}
}

func TestGroupRecord(t *testing.T) {
	g := newGroup("g", 17)
	g.generation, g.protocol = 3, "range"
	g.add(&member{id: "a", instanceID: "i", client: Client{"c", "/h"}, protocols: []Protocol{{"range", []byte("sub")}},
		sessionTimeout: time.Second, rebalanceTimeout: time.Minute}, "consumer")
	var v kmsg.GroupMetadataValue
	if err := v.ReadFrom(encodeGroup(g, map[string][]byte{"a": []byte("data")})); err != nil {
		t.Fatal(err)
	}
	protocol, leader, instance := "range", "a", "i"
	want := kmsg.GroupMetadataValue{Version: 3, ProtocolType: "consumer", Generation: 3, Protocol: &protocol, Leader: &leader,
		CurrentStateTimestamp: 17, Members: []kmsg.GroupMetadataValueMember{{MemberID: "a", InstanceID: &instance, ClientID: "c", ClientHost: "/h",
			RebalanceTimeoutMillis: 60000, SessionTimeoutMillis: 1000, Subscription: []byte("sub"), Assignment: []byte("data")}}}
	if !reflect.DeepEqual(v, want) {
		t.Errorf("got %+v\nwant %+v", v, want)
	}
}

func TestDecodeErrors(t *testing.T) {
	good := (&offset{}).encode()
	newer := append([]byte{0, 4}, good[2:]...)
	for _, c := range []struct {
		what       string
		key, value []byte
		want       error
	}{
		{"no key", nil, good, ErrCorruptRecord},
		{"a kind of record that is not known", []byte{0, 3, 1, 2}, []byte{1}, nil},
		{"cut key", []byte{0, 1, 0, 9}, good, ErrCorruptRecord},
		{"cut value", offsetKey("g", "t", 0), good[:10], ErrCorruptRecord},
		{"empty value", offsetKey("g", "t", 0), []byte{}, ErrCorruptRecord},
		{"a version that is not known", offsetKey("g", "t", 0), newer, ErrCorruptRecord},
		{"cut group", groupKey("g"), []byte{0, 3, 0, 9}, ErrCorruptRecord},
		{"tombstone", groupKey("g"), nil, nil},
	} {
		if _, err := decodeRecord(c.key, c.value); !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
	}
}

func TestSubscribedTopics(t *testing.T) {
	for _, c := range []struct {
		b    string
		want int
		ok   bool
	}{
		{string(subscription("a", "b")), 2, true}, {string(subscription()), 0, true}, {"", 0, false}, {"\x00\x00\xff\xff\xff\xff", 0, false},
		{"\x00\x00\x7f\xff\xff\xff\x00\x01a", 1, false}, {"\x00\x00\x00\x00\x00\x01\xff\xff", 0, false},
	} {
		into := map[string]struct{}{}
		if ok := subscribedTopics([]byte(c.b), into); ok != c.ok || len(into) != c.want {
			t.Errorf("%q: %v, %d topics", c.b, ok, len(into))
		}
	}
}

// A log that was damaged, or written by somebody else, is refused or loaded, but it crashes nothing.
func FuzzDecodeRecord(f *testing.F) {
	g := newGroup("g", 1)
	g.protocol = "range"
	g.add(&member{id: "a", protocols: []Protocol{{"range", subscription("t")}}}, "consumer")
	f.Add(offsetKey("g", "t", 1), (&offset{offset: 5, expireMs: -1}).encode())
	f.Add(offsetKey("g", "t", 1), (&offset{offset: 5, expireMs: 7, metadata: "m"}).encode())
	f.Add(groupKey("g"), encodeGroup(g, nil))
	f.Add(groupKey("g"), []byte(nil))
	f.Add([]byte{0, 9}, []byte{1})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		s, err := decodeRecord(key, value)
		if err != nil {
			if !errors.Is(err, ErrCorruptRecord) {
				t.Fatalf("error %v", err)
			}
			return
		}
		cfg := Config{}.withDefaults()
		m := newMachine(&cfg, slog.New(slog.DiscardHandler), &usage{}, func() string { return "x" })
		m.now = time.UnixMilli(0)
		l := newLoader(m)
		if err := l.add(key, value); err != nil {
			t.Fatal(err)
		}
		l.finish()
		if s.offset != nil { // what is written again reads the same
			again, err := decodeRecord(offsetKey(s.groupID, s.topic, s.partition), s.offset.encode())
			if err != nil || (s.offset.expireMs < 0 && *again.offset != *s.offset) {
				t.Fatalf("%+v, again %+v, %v", s.offset, again.offset, err)
			}
		}
		m.tick()
		m.drop(ErrNotCoordinator)
		if n := m.usage.bytes.Load(); n != 0 {
			t.Fatalf("%d bytes left in the books", n)
		}
	})
}

func FuzzReplayBatches(f *testing.F) {
	b := recordbatch.NewBuilder()
	b.Append(1, offsetKey("g", "t", 1), (&offset{offset: 5, expireMs: -1}).encode())
	b.Append(1, groupKey("g"), nil)
	batch, err := b.Build(recordbatch.None)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(batch, int64(0))
	f.Add(append(append([]byte{}, batch...), batch[:30]...), int64(1))
	f.Fuzz(func(t *testing.T, b []byte, from int64) {
		cfg := Config{}.withDefaults()
		m := newMachine(&cfg, slog.New(slog.DiscardHandler), &usage{}, func() string { return "x" })
		l := newLoader(m)
		if next, err := replayBatches(b, from, l); err == nil && next < from {
			t.Fatalf("went from %d to %d", from, next)
		}
	})
}
