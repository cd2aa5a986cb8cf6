package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronik-io/chronik/internal/peer"
)

// A node that does not answer, a stopped one, costs a client that asks for metadata one short wait in a second, and one whose connection has
// ended is lost at once.
func TestSlowNodesAreNotAskedEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q questions
		asked := 0
		silent := func(ctx context.Context) error {
			asked++
			<-ctx.Done()
			return ctx.Err()
		}
		ask := func(by func(context.Context) error, lost bool, took time.Duration) {
			t.Helper()
			begin := time.Now()
			if got := q.lost(t.Context(), 2, by); got != lost || time.Since(begin) != took {
				t.Fatalf("lost %t after %v, want %t after %v", got, time.Since(begin), lost, took)
			}
		}
		ask(silent, false, aliveWithin)
		ask(silent, false, 0)
		time.Sleep(slowFor - time.Millisecond)
		ask(silent, false, 0)
		time.Sleep(time.Millisecond)
		ask(silent, false, aliveWithin)
		if asked != 2 {
			t.Fatalf("asked %d times", asked)
		}
		time.Sleep(slowFor)
		ask(func(context.Context) error { return peer.ErrUnreachable }, true, 0)
		ask(func(context.Context) error { return nil }, false, 0)
	})
}
