package metalog

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/chronik-io/chronik/internal/metadata"
)

// imageHashEvery is after how many entries a leader writes down the image's hash.
const imageHashEvery = 1000

// changed is called for each new image; nil to be told nothing.
type changed func(old, cur *metadata.Image, d *metadata.Delta)

// applyEntries applies committed entries to an image. An error means that this node's image is not what the writer's was, or that the
// log holds something this build does not know: the node must stop.
func applyEntries(im *metadata.Image, entries []Entry, fn changed) (*metadata.Image, error) {
	b := metadata.NewBatch(im)
	next := im.Offset() + 1
	done := func() {
		cur, d := b.Done()
		if fn != nil && cur.Offset() > im.Offset() {
			fn(im, cur, d)
		}
		im, b = cur, metadata.NewBatch(cur)
	}
	for i := range entries {
		e := &entries[i]
		if e.Offset != next {
			return nil, fmt.Errorf("apply entry %d: %w: I12: expected %d", e.Offset, errChain, next)
		}
		next++
		switch e.Type {
		case EntryEvent, EntryVoters:
			ev, err := metadata.DecodeEvent(e.Payload)
			if err != nil {
				return nil, fmt.Errorf("apply entry %d: %w", e.Offset, err)
			}
			if err := b.Apply(e.Offset, ev); err != nil {
				return nil, fmt.Errorf("apply entry %d: %w", e.Offset, err)
			}
		case EntryImageHash:
			done()
			if got := im.Hash().Bytes(); string(got[:]) != string(e.Payload) {
				return nil, fmt.Errorf("apply entry %d: I9: image hash %s here, %x in the log", e.Offset, im.Hash(), e.Payload)
			}
			b.Advance(e.Offset)
		case EntryEpochStart, EntryNoop:
			b.Advance(e.Offset)
		default:
			return nil, fmt.Errorf("apply entry %d: %w: %s", e.Offset, metadata.ErrUnknownEvent, e.Type)
		}
	}
	done()
	return im, nil
}

// deltaBetween lists what differs between two images that are not neighbours: after an image was installed.
func deltaBetween(old, cur *metadata.Image) *metadata.Delta {
	d := &metadata.Delta{Cluster: true, Voters: true, ProducerIDs: true}
	configs := map[metadata.Resource]bool{}
	for t := range old.Topics() {
		if cur.TopicByID(t.ID) == nil {
			d.TopicsDeleted = append(d.TopicsDeleted, t)
		}
	}
	for t := range cur.Topics() {
		before := old.TopicByID(t.ID)
		if before == nil {
			d.TopicsCreated = append(d.TopicsCreated, t)
			continue
		}
		for n, p := range t.Partitions {
			if was := before.Partition(int32(n)); was == nil || !reflect.DeepEqual(was, p) {
				d.Partitions = append(d.Partitions, metadata.PartitionChange{Topic: t, Partition: int32(n), Old: was, New: p})
			}
		}
	}
	for r, values := range old.Configs() {
		configs[r] = !maps.Equal(values, cur.Config(r.Type, r.Name))
	}
	for r, values := range cur.Configs() {
		configs[r] = !maps.Equal(values, old.Config(r.Type, r.Name))
	}
	for r, differs := range configs {
		if differs {
			d.Configs = append(d.Configs, r)
		}
	}
	slices.SortFunc(d.Configs, func(x, y metadata.Resource) int { return strings.Compare(x.Key(), y.Key()) })
	for b := range old.Brokers() {
		if !reflect.DeepEqual(b, cur.Broker(b.ID)) {
			d.Brokers = append(d.Brokers, b.ID)
		}
	}
	for b := range cur.Brokers() {
		if old.Broker(b.ID) == nil {
			d.Brokers = append(d.Brokers, b.ID)
		}
	}
	slices.Sort(d.Brokers)
	return d
}
