package group

import (
	"log/slog"
	"time"
)

// Config holds the coordinator's settings and bounds. Zero means the default, except for InitialRebalanceDelay.
type Config struct {
	MinSessionTimeout     time.Duration // group.min.session.timeout.ms, 6 s
	MaxSessionTimeout     time.Duration // group.max.session.timeout.ms, 30 min
	InitialRebalanceDelay time.Duration // group.initial.rebalance.delay.ms; negative: the default of 3 s, 0: none
	MaxGroupSize          int           // group.max.size, 2^31-1
	OffsetMetadataMax     int           // offset.metadata.max.bytes, 4096
	OffsetsRetention      time.Duration // offsets.retention.minutes, 7 days
	RetentionCheck        time.Duration // offsets.retention.check.interval.ms, 10 min
	CommitTimeout         time.Duration // offsets.commit.timeout.ms, 5 s

	// Bounds of our own. What goes beyond is refused with ErrStateFull, ErrGroupFull or ErrRecordTooLarge.
	MaxGroups        int           // groups of the node, 100,000
	MaxStateBytes    int64         // offsets and group metadata of the node, 256 MiB
	MaxPending       int           // members per group that were given an id and have not joined yet, 10,000
	MaxBatchBytes    int           // one batch of __consumer_offsets, 4 MiB
	NewMemberTimeout time.Duration // a member whose first JoinGroup is not answered within this leaves, 5 min
	LoadWait         time.Duration // a request waits this long for a partition that is loading, 1 s

	// The cleaner rewrites a partition's live state when its log has grown by this much beyond twice the live state.
	CleanBytes   int64 // 8 MiB
	CleanRecords int64 // 100,000

	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	duration := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	duration(&c.MinSessionTimeout, 6*time.Second)
	duration(&c.MaxSessionTimeout, 30*time.Minute)
	if c.InitialRebalanceDelay < 0 {
		c.InitialRebalanceDelay = 3 * time.Second
	}
	if c.MaxGroupSize <= 0 {
		c.MaxGroupSize = 1<<31 - 1
	}
	if c.OffsetMetadataMax <= 0 {
		c.OffsetMetadataMax = 4096
	}
	c.OffsetMetadataMax = min(c.OffsetMetadataMax, maxStringBytes)
	duration(&c.OffsetsRetention, 7*24*time.Hour)
	duration(&c.RetentionCheck, 10*time.Minute)
	duration(&c.CommitTimeout, 5*time.Second)
	number(&c.MaxGroups, 100_000)
	number(&c.MaxStateBytes, 256<<20)
	number(&c.MaxPending, 10_000)
	number(&c.MaxBatchBytes, 4<<20)
	duration(&c.NewMemberTimeout, 5*time.Minute)
	duration(&c.LoadWait, time.Second)
	number(&c.CleanBytes, 8<<20)
	number(&c.CleanRecords, 100_000)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func number[T int | int64](n *T, def T) {
	if *n <= 0 {
		*n = def
	}
}

// maxStringBytes is the longest string that the stored formats can hold (int16 length).
const maxStringBytes = 1<<15 - 1
