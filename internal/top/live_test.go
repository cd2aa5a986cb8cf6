package top

import (
	"testing"
	"time"
)

// A look that waited two seconds for a silent node is not followed by a rest of eighteen.
func TestRestAfterALook(t *testing.T) {
	for _, c := range []struct{ took, want time.Duration }{
		{time.Millisecond, 999 * time.Millisecond},
		{200 * time.Millisecond, 1800 * time.Millisecond},
		{2 * time.Second, longestRest},
		{10 * time.Second, longestRest},
	} {
		if got := restFor(time.Second, c.took); got != c.want {
			t.Errorf("after %v it rests %v, not %v", c.took, got, c.want)
		}
	}
}
