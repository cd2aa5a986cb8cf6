package partition

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/vfs"
)

// The race: a commit is durable, its completion is not told yet, and a truncation is refused. It finds that the durable end has moved; the
// hook, which takes a lock of the caller's, must not be called within the truncation: the caller may hold that lock.
func TestRefusedTruncationDoesNotCallTheHook(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), nil)
	slow, l := f.create(testID(1, 0)), f.create(testID(1, 1))
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	slow.OnDurable(func(int64) { held <- struct{}{}; <-hold })
	if err := l.Reset(5); err != nil {
		t.Fatal(err)
	}
	if err := f.s.syncWAL(); err != nil {
		t.Fatal(err)
	}
	f.append(slow, makeBatch(1, 100, testTime, nil))
	<-held // completions wait from here on
	var mu sync.Mutex
	told := make(chan int64, 8)
	l.OnDurable(func(end int64) {
		mu.Lock()
		defer mu.Unlock()
		told <- end
	})
	f.append(l, makeBatch(1, 100, testTime, nil))
	if err := f.s.syncWAL(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	mu.Lock()
	go func() { done <- l.TruncateUnclean(3) }()
	select {
	case err := <-done:
		if !errors.Is(err, ErrTruncateBelowSegments) {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the truncation waits for the lock of the hook")
	}
	mu.Unlock()
	close(hold)
	if end := <-told; end != 6 {
		t.Errorf("told of %d", end)
	}
}
