package controller

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/uuid"
)

// Log is the metadata log as this package uses it; *metalog.Log is one.
type Log interface {
	Propose(ctx context.Context, p metalog.Proposal) (offset int64, err error)
	Image() *metadata.Image
}

// Limits bound what the cluster holds.
type Limits struct {
	// PartitionsPerTopic (10,000) and Partitions (100,000, all topics together).
	PartitionsPerTopic, Partitions int
	// Tombstones (100,000) bounds the deleted topics that are remembered; deletions beyond it are refused.
	Tombstones int
}

// Options are what a controller works with.
type Options struct {
	Log    Log
	NodeID int32
	// Static are the Kafka broker settings this node was started with, by Kafka's names; those of Config.StaticKafka.
	Static map[string]string
	Limits Limits
	Logger *slog.Logger
	// Now and NewID are the clock and the source of topic ids; nil for the real ones.
	Now   func() time.Time
	NewID func() uuid.UUID
}

// Controller does administrative operations through the metadata log.
type Controller struct {
	log    Log
	nodeID int32
	static map[string]string
	limits Limits
	logger *slog.Logger
	now    func() time.Time
	newID  func() uuid.UUID
}

// New makes a controller. Its background work is Run.
func New(o Options) *Controller {
	c := &Controller{log: o.Log, nodeID: o.NodeID, static: maps.Clone(o.Static), limits: o.Limits, logger: o.Logger, now: o.Now, newID: o.NewID}
	if c.limits.PartitionsPerTopic == 0 {
		c.limits.PartitionsPerTopic = 10_000
	}
	if c.limits.Partitions == 0 {
		c.limits.Partitions = 100_000
	}
	if c.limits.Tombstones == 0 {
		c.limits.Tombstones = 100_000
	}
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.newID == nil {
		c.newID = uuid.New
	}
	return c
}

// Image is the committed image that this node answers from.
func (c *Controller) Image() *metadata.Image { return c.log.Image() }

// propose runs one operation. build may be called more than once, and must begin afresh each time.
func (c *Controller) propose(ctx context.Context, what string, build func(d *draft) error) error {
	_, err := c.log.Propose(ctx, func(working *metadata.Image) ([]metadata.Event, error) {
		d := &draft{base: working, next: working.Offset() + 1}
		if err := build(d); err != nil {
			return nil, err
		}
		return d.events, d.err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// draft collects the events of one proposal and shows the image as it is after them.
type draft struct {
	base    *metadata.Image
	applied int   // how many of events are in base
	next    int64 // the offset that the next event is expected at; the log decides
	events  []metadata.Event
	err     error // the first event that the image refused, which is a defect of this package
}

// image is the working image with all events of the draft. They are applied when somebody asks: the log applies them again, and most
// proposals have one item only.
func (d *draft) image() *metadata.Image {
	if d.applied == len(d.events) || d.err != nil {
		return d.base
	}
	b := metadata.NewBatch(d.base)
	for ; d.applied < len(d.events); d.applied++ {
		if d.err = b.Apply(d.next, d.events[d.applied]); d.err != nil {
			return d.base
		}
		d.next++
	}
	d.base, _ = b.Done()
	return d.base
}

// add takes the events of one item.
func (d *draft) add(events ...metadata.Event) error {
	d.events = append(d.events, events...)
	return d.err
}

func (c *Controller) nowMs() int64 { return c.now().UnixMilli() }
