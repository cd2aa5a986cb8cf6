package group

import (
	"context"
	"encoding/hex"
	"slices"
	"time"

	"github.com/chronik-io/chronik/internal/uuid"
)

// This file is what requests come in through: it checks what can be checked without state, finds the group's shard, and waits.

// outcome is an answer on its way to the goroutine that waits for it.
type outcome[T any] struct {
	value T
	err   error
}

// call runs fn on the group's machine and waits for its reply: as long as ctx lasts and, if timeout is positive, not longer than that.
func call[T any](ctx context.Context, c *Coordinator, group string, timeout time.Duration, fn func(*machine, *reply[T])) (T, error) {
	var none T
	s := c.shard(c.PartitionOf(group))
	if s == nil {
		return none, ErrNotCoordinator
	}
	answers := make(chan outcome[T], 1)
	rep := &reply[T]{fn: func(v T, err error) { answers <- outcome[T]{v, err} }}
	if err := s.enter(ctx, func(m *machine) { fn(m, rep) }); err != nil {
		return none, err
	}
	select { // most are answered at once
	case a := <-answers:
		return a.value, a.err
	default:
	}
	var expired <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return none, ctx.Err()
	case <-expired:
		return none, ErrNotAvailable
	}
}

// Join makes the caller a member of the next generation; it returns when that generation begins. With an error the result holds only the
// member id to answer with.
func (c *Coordinator) Join(ctx context.Context, r JoinRequest) (JoinResult, error) {
	if err := c.checkJoin(&r); err != nil {
		return JoinResult{MemberID: r.MemberID}, err
	}
	var waiting *reply[JoinResult]
	res, err := call(ctx, c, r.Group, 0, func(m *machine, rep *reply[JoinResult]) {
		waiting = rep
		m.join(&r, rep)
	})
	if ctx.Err() != nil && waiting != nil {
		if s := c.shard(c.PartitionOf(r.Group)); s != nil {
			s.withMachine(func(m *machine) { m.abandon(r.Group, waiting, r.MemberID != "" || r.InstanceID != "") })
		}
	}
	if err != nil && res.MemberID == "" && err != ErrGroupFull {
		res.MemberID = r.MemberID
	}
	return res, err
}

// checkJoin refuses what could not be stored, and drops protocols that are listed twice.
func (c *Coordinator) checkJoin(r *JoinRequest) error {
	if err := checkGroupID(r.Group, false); err != nil {
		return err
	}
	if r.SessionTimeout < c.cfg.MinSessionTimeout || r.SessionTimeout > c.cfg.MaxSessionTimeout {
		return ErrInvalidSessionTimeout
	}
	r.RebalanceTimeout = max(r.RebalanceTimeout, 0)
	if len(r.ProtocolType) > maxStringBytes || len(r.InstanceID) > maxNameBytes || len(r.Client.ID) > maxStringBytes-64 || len(r.Client.Host) > maxNameBytes {
		return ErrInvalidRequest
	}
	bytes := 0
	seen := make(map[string]struct{}, len(r.Protocols))
	r.Protocols = slices.DeleteFunc(slices.Clone(r.Protocols), func(p Protocol) bool {
		_, twice := seen[p.Name]
		seen[p.Name] = struct{}{}
		bytes += len(p.Name) + len(p.Metadata)
		return twice
	})
	for name := range seen {
		if len(name) > maxStringBytes {
			return ErrInvalidRequest
		}
	}
	if bytes > c.cfg.MaxBatchBytes {
		return ErrRecordTooLarge
	}
	return nil
}

// maxNameBytes bounds instance ids and host names; Kafka allows 249 characters in an instance id.
const maxNameBytes = 255

// checkGroupID holds the rule on group ids: what names no group is refused, except that offsets may be stored without one.
func checkGroupID(group string, emptyAllowed bool) error {
	if (group == "" && !emptyAllowed) || len(group) > maxStringBytes {
		return ErrInvalidGroupID
	}
	return nil
}

// Sync waits for the leader's assignments and returns the member's. While the partition is loading the rebalance that it belongs to is
// lost: the member has to join again.
func (c *Coordinator) Sync(ctx context.Context, r SyncRequest) (SyncResult, error) {
	if err := checkGroupID(r.Group, false); err != nil {
		return SyncResult{}, err
	}
	bytes := 0
	for _, a := range r.Assignments {
		bytes += len(a.MemberID) + len(a.Data)
	}
	if bytes > c.cfg.MaxBatchBytes {
		return SyncResult{}, ErrRecordTooLarge
	}
	if s := c.shard(c.PartitionOf(r.Group)); s != nil && s.loading() {
		return SyncResult{}, ErrRebalanceInProgress
	}
	return call(ctx, c, r.Group, 0, func(m *machine, rep *reply[SyncResult]) { m.sync(&r, rep) })
}

// Heartbeat keeps a member alive. While the partition is loading it answers nil: the sessions begin anew after that.
func (c *Coordinator) Heartbeat(ctx context.Context, r HeartbeatRequest) error {
	if err := checkGroupID(r.Group, false); err != nil {
		return err
	}
	s := c.shard(c.PartitionOf(r.Group))
	if s == nil {
		return ErrNotCoordinator
	}
	if s.loading() {
		return nil
	}
	var answer error
	if err := s.enter(ctx, func(m *machine) { answer = m.heartbeat(&r) }); err != nil {
		return err
	}
	return answer
}

// Leave removes members; the first result has one error (or nil) for each of them.
func (c *Coordinator) Leave(ctx context.Context, group string, members []LeaveMember) ([]error, error) {
	if err := checkGroupID(group, false); err != nil {
		return nil, err
	}
	return call(ctx, c, group, c.cfg.CommitTimeout, func(m *machine, rep *reply[[]error]) { m.leave(group, members, rep) })
}

// Commit stores offsets; it returns when they are below the high watermark, with one error (or nil) for each of r.Offsets.
// ErrGroupNotFound means a generation was given for a group that does not exist (ILLEGAL_GENERATION before OffsetCommit v9).
func (c *Coordinator) Commit(ctx context.Context, r CommitRequest) ([]error, error) {
	if err := checkGroupID(r.Group, true); err != nil {
		return nil, err
	}
	return call(ctx, c, r.Group, c.cfg.CommitTimeout, func(m *machine, rep *reply[[]error]) { m.commit(&r, rep) })
}

// FetchOffsets gives the committed offsets of the named partitions in their order, or with topics nil all that the group has, by name.
// A group that does not exist has none; that is no error.
func (c *Coordinator) FetchOffsets(ctx context.Context, group string, topics []TopicPartitions) ([]TopicOffsets, error) {
	if err := checkGroupID(group, true); err != nil {
		return nil, err
	}
	return call(ctx, c, group, c.cfg.CommitTimeout, func(m *machine, rep *reply[[]TopicOffsets]) { m.fetch(group, topics, rep) })
}

// DeleteOffsets deletes committed offsets; the first result has one error (or nil) for each partition of each topic.
func (c *Coordinator) DeleteOffsets(ctx context.Context, group string, topics []TopicPartitions) ([][]error, error) {
	if err := checkGroupID(group, false); err != nil {
		return nil, err
	}
	return call(ctx, c, group, c.cfg.CommitTimeout, func(m *machine, rep *reply[[][]error]) { m.deleteOffsets(group, topics, rep) })
}

// DeleteGroup deletes a group without members, with its offsets.
func (c *Coordinator) DeleteGroup(ctx context.Context, group string) error {
	if err := checkGroupID(group, true); err != nil {
		return err
	}
	_, err := call(ctx, c, group, c.cfg.CommitTimeout, func(m *machine, rep *reply[struct{}]) { m.deleteGroup(group, rep) })
	return err
}

// Describe shows a group; ErrGroupNotFound if there is none.
func (c *Coordinator) Describe(ctx context.Context, group string) (Description, error) {
	s := c.shard(c.PartitionOf(group))
	if s == nil {
		return Description{Group: group}, ErrNotCoordinator
	}
	d, answer := Description{Group: group}, error(nil)
	if err := s.enter(ctx, func(m *machine) { d, answer = m.describe(group) }); err != nil {
		return d, err
	}
	return d, answer
}

// List shows all groups of the partitions that are loaded here. ErrLoading means that some are missing from the list.
func (c *Coordinator) List() ([]Listing, error) {
	var list []Listing
	var err error
	for _, s := range c.all() {
		if s.loading() {
			err = ErrLoading
			continue
		}
		s.withMachine(func(m *machine) { list = m.list(list) })
	}
	slices.SortFunc(list, func(a, b Listing) int {
		if a.Group < b.Group {
			return -1
		}
		return 1
	})
	return list, err
}

// newMemberID makes the random part of a member id, printed as Java prints a UUID.
func newMemberID() string {
	id := uuid.New()
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
