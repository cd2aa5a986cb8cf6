package node

import "testing"

func TestMemoryLimitFollowsTheLiveHeap(t *testing.T) {
	for _, tc := range []struct {
		live uint64
		want int64
	}{{0, 144 << 20}, {4 << 20, 144 << 20}, {32 << 20, 144 << 20}, {64 << 20, 192 << 20}, {1 << 30, 2<<30 + 64<<20}} {
		if got := memoryLimit(tc.live); got != tc.want {
			t.Errorf("live heap of %d bytes: limit %d, want %d", tc.live, got, tc.want)
		}
	}
}
