package top

import (
	"testing"
	"time"
)

// A look that waited two seconds for a silent node is not followed by a rest of eighteen.
func TestRestAfterALook(t *testing.T) {
	for _, c := range []struct{ took, want time.Duration }{
		{time.Millisecond, 999 * time.Millisecond},
		{150 * time.Millisecond, 1350 * time.Millisecond},
		{600 * time.Millisecond, longestRest},
		{partTimeout, silenceRest},
		{10 * time.Second, silenceRest},
	} {
		if got := restFor(time.Second, c.took); got != c.want {
			t.Errorf("after %v it rests %v, not %v", c.took, got, c.want)
		}
	}
}
