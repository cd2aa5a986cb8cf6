package controller

import (
	"context"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/uuid"
)

// TopicRef names a topic by id, or by name where the id is zero.
type TopicRef struct {
	Name string
	ID   uuid.UUID
}

// DeletedTopic is what became of one topic of a request: the name and id as far as they are known.
type DeletedTopic struct {
	Name string
	ID   uuid.UUID
	Err  error
}

// DeleteTopics deletes topics, as one proposal. The results are in the order of the request; a topic that is named more than once, in
// whatever way, is refused once and not deleted.
func (c *Controller) DeleteTopics(ctx context.Context, refs []TopicRef) ([]DeletedTopic, error) {
	var results []DeletedTopic
	err := c.propose(ctx, "delete topics", func(d *draft) error {
		results = make([]DeletedTopic, 0, len(refs))
		times := make(map[TopicRef]int, len(refs))
		for _, ref := range refs {
			times[resolve(d.image(), ref)]++
		}
		for _, ref := range refs {
			full := resolve(d.image(), ref)
			n := times[full]
			times[full] = 0
			if n == 0 {
				continue
			}
			r := DeletedTopic{Name: full.Name, ID: full.ID}
			if n > 1 {
				r.ID = ref.ID
				r.Err = refuse(ErrInvalidRequest, "Duplicate topic in request.")
			} else {
				r.Err = c.deleteTopic(d, ref, full)
			}
			results = append(results, r)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// resolve completes name and id of a topic that exists.
func resolve(im *metadata.Image, ref TopicRef) TopicRef {
	if !ref.ID.IsZero() {
		if t := im.TopicByID(ref.ID); t != nil {
			return TopicRef{t.Name, t.ID}
		}
		return TopicRef{ID: ref.ID}
	}
	if t := im.Topic(ref.Name); t != nil {
		return TopicRef{t.Name, t.ID}
	}
	return ref
}

func (c *Controller) deleteTopic(d *draft, ref, full TopicRef) error {
	t := d.image().TopicByID(full.ID)
	switch {
	case !ref.ID.IsZero() && ref.Name != "":
		return refuse(ErrInvalidRequest, "You may not specify both topic name and topic id.")
	case ref.ID.IsZero() && ref.Name == "":
		return refuse(ErrInvalidRequest, "Neither topic name nor id were specified.")
	case ref.Name == metadata.MetadataTopic || ref.ID == metadata.MetadataTopicID:
		return refuse(ErrInvalidRequest, "Internal topic %s cannot be deleted.", metadata.MetadataTopic)
	case t == nil && !ref.ID.IsZero():
		return refuse(ErrUnknownTopicID, "This server does not host this topic ID.")
	case t == nil:
		return refuse(ErrUnknownTopic, "This server does not host this topic-partition.")
	case t.Internal:
		return refuse(ErrInvalidRequest, "Internal topic %s cannot be deleted.", t.Name)
	case !config.BrokerBool(config.DeleteTopicEnable, c.layers(d.image(), "")):
		return refuse(ErrTopicDeletionDisabled, "Topic deletion is disabled.")
	case d.image().TombstoneCount() >= c.limits.Tombstones:
		return refuse(ErrInvalidRequest, "Too many deleted topics are waiting for their data to be removed everywhere (%d).", d.image().TombstoneCount())
	}
	return d.add(&metadata.TopicDeleted{Name: t.Name, TopicID: t.ID, TimestampMs: c.nowMs()})
}

// maxPurge bounds the tombstones of one event.
const maxPurge = 10_000

// PurgeTombstones forgets topics that were deleted before a time, at most 10,000 a call, and returns how many. The caller knows that
// their data is gone on every broker, and that no rollback will ask for them.
func (c *Controller) PurgeTombstones(ctx context.Context, beforeMs int64) (int, error) {
	n := 0
	err := c.propose(ctx, "purge tombstones", func(d *draft) error {
		var ids []uuid.UUID
		for t := range d.image().Tombstones() {
			if t.DeletedMs < beforeMs {
				ids = append(ids, t.ID)
			}
			if len(ids) == maxPurge {
				break
			}
		}
		n = len(ids)
		if n == 0 {
			return nil
		}
		return d.add(&metadata.TombstonesPurged{TopicIDs: ids})
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}
