package metalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
)

func soloOptions(fsys vfs.FS, dir string, boot uint64) Options {
	self := Member{NodeID: 1, DiskID: uuid.UUID{15: 9}}
	return Options{
		FS: fsys, Dir: dir, Self: self, Boot: boot, SlotBytes: 1 << 20, HistoryBytes: 16 << 20,
		Genesis: Genesis{ClusterID: "test", Founders: []Member{self}, TimestampMs: 1},
		Logger:  slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

func openSolo(t testing.TB, o Options) *Log {
	t.Helper()
	if o.OnHalt == nil {
		o.OnHalt = func(err error) { t.Errorf("halted: %v", err) }
	}
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	l.Start()
	l.Claimed(l.Status().Ballot.Term+1, l.SelfBallot())
	return l
}

func waitLeader(t testing.TB, l *Log) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for l.Status().Role != RoleLeader {
		if time.Now().After(deadline) {
			t.Fatalf("no leader: %+v", l.Status())
		}
		time.Sleep(time.Millisecond)
	}
}

func setConfig(name, value string) Proposal {
	return func(*metadata.Image) ([]metadata.Event, error) {
		return []metadata.Event{&metadata.ConfigChanged{Resource: metadata.ResourceBroker, Name: "1", Set: map[string]string{name: value}}}, nil
	}
}

func TestSoloFoundsProposesAndRecovers(t *testing.T) {
	dir := t.TempDir()
	l := openSolo(t, soloOptions(vfs.OS, dir, 1))
	waitLeader(t, l)
	var last int64
	for i := range 2500 {
		off, err := l.Propose(context.Background(), setConfig("k", fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		if off <= last && i > 0 {
			t.Fatalf("offset %d after %d", off, last)
		}
		last = off
		if got := l.Image().Config(metadata.ResourceBroker, "1")["k"]; got != fmt.Sprint(i) {
			t.Fatalf("after propose %d the image says %q", i, got)
		}
	}
	if l.Image().Cluster().ID != "test" || len(l.Image().Voters()) != 1 {
		t.Fatalf("not founded: %+v", l.Image().Cluster())
	}
	hash := l.Image().Hash()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openSolo(t, soloOptions(vfs.OS, dir, 2))
	if l.Image().Hash() != hash || l.Image().Offset() != last {
		t.Fatalf("recovered image at %d, want %d", l.Image().Offset(), last)
	}
	waitLeader(t, l)
	if _, err := l.Propose(context.Background(), setConfig("k", "again")); err != nil {
		t.Fatal(err)
	}
	var all []Entry
	for from := int64(0); from < l.Commit(); {
		es, next, err := l.ReadEntries(from, 10000)
		if err != nil {
			t.Fatal(err)
		}
		all, from = append(all, es...), next
	}
	if !chained(Position{}, all, 1<<40) || int64(len(all)) != l.Commit() {
		t.Fatalf("%d entries read of %d", len(all), l.Commit())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// A node that is restarted again and again writes an image when one is due, though no process of it has appended that much: what a start
// has to replay is bounded.
func TestImageIsDueAcrossRestarts(t *testing.T) {
	dir := t.TempDir()
	for boot := uint64(1); boot < 20; boot++ {
		o := soloOptions(vfs.OS, dir, boot)
		o.ImageBytes = 4 << 10
		l := openSolo(t, o)
		waitLeader(t, l)
		for i := range 5 {
			if _, err := l.Propose(context.Background(), setConfig("k", fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil { // waits for an image that is being written
			t.Fatal(err)
		}
		ends, err := listImages(vfs.OS, dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(ends) > 0 {
			if boot < 3 {
				t.Fatalf("boot %d has written an image at %d: this test shows nothing", boot, ends[0])
			}
			return
		}
	}
	t.Fatal("19 starts with five changes each, and no image")
}

func TestProposalsAreOrderedAndIsolated(t *testing.T) {
	l := openSolo(t, soloOptions(vfs.OS, t.TempDir(), 1))
	defer l.Close()
	waitLeader(t, l)
	refused := errors.New("refused")
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 50 {
				_, err := l.Propose(context.Background(), func(im *metadata.Image) ([]metadata.Event, error) {
					if i%10 == 3 {
						return nil, refused
					}
					n := 0
					_, _ = fmt.Sscan(im.Config(metadata.ResourceBroker, "1")["n"], &n)
					return setConfigEvents("n", fmt.Sprint(n+1)), nil
				})
				if i%10 == 3 && !errors.Is(err, refused) || i%10 != 3 && err != nil {
					t.Errorf("worker %d, %d: %v", w, i, err)
				}
			}
		}()
	}
	wg.Wait()
	if got := l.Image().Config(metadata.ResourceBroker, "1")["n"]; got != fmt.Sprint(16*45) {
		t.Fatalf("counted to %s instead of %d", got, 16*45)
	}
}

func setConfigEvents(name, value string) []metadata.Event {
	ev, _ := setConfig(name, value)(nil)
	return ev
}
