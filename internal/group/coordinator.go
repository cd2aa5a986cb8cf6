package group

import "context"

// Coordinator serves the groups whose partition of __consumer_offsets this node leads. All methods may be called concurrently.
type Coordinator struct {
	cfg Config
	log Log
}

// New makes a coordinator that serves nothing until Elected is called.
func New(cfg Config, log Log) *Coordinator {
	return &Coordinator{cfg: cfg.withDefaults(), log: log}
}

// Run fires the timers and loads, expires and cleans partitions until ctx ends; waiting requests are then answered with ErrStopped.
func (c *Coordinator) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// SetPartitions tells how many partitions __consumer_offsets has; it never changes once the topic exists.
func (c *Coordinator) SetPartitions(n int32) {}

// Elected says that this node leads the partition at leaderEpoch, and starts to load it. It does not block. A call with the epoch that
// is loaded already does nothing.
func (c *Coordinator) Elected(partition, leaderEpoch int32) {}

// Resigned says that this node no longer leads the partition: its groups are forgotten, waiting requests get ErrNotCoordinator.
func (c *Coordinator) Resigned(partition int32) {}

// TopicsDeleted drops the committed offsets of topics that are gone.
func (c *Coordinator) TopicsDeleted(topics []string) {}

// PartitionOf gives the partition of __consumer_offsets that holds the group, as Kafka computes it; -1 while SetPartitions was not called.
func (c *Coordinator) PartitionOf(group string) int32 { return -1 }

// Await returns when the partition is loaded here, or ErrNotCoordinator, ErrLoading (not within Config.LoadWait) or ctx's error.
func (c *Coordinator) Await(ctx context.Context, partition int32) error { return ErrNotCoordinator }

// Join makes the caller a member of the next generation; it returns when that generation begins.
func (c *Coordinator) Join(ctx context.Context, r JoinRequest) (JoinResult, error) {
	return JoinResult{MemberID: r.MemberID}, ErrNotCoordinator
}

// Sync waits for the leader's assignments and returns the member's.
func (c *Coordinator) Sync(ctx context.Context, r SyncRequest) (SyncResult, error) {
	return SyncResult{}, ErrNotCoordinator
}

// Heartbeat keeps a member alive. While the partition is loading it answers nil.
func (c *Coordinator) Heartbeat(ctx context.Context, r HeartbeatRequest) error {
	return ErrNotCoordinator
}

// Leave removes members; the first result has one error (or nil) for each of them.
func (c *Coordinator) Leave(ctx context.Context, group string, members []LeaveMember) ([]error, error) {
	return nil, ErrNotCoordinator
}

// Commit stores offsets; it returns when they are below the high watermark, with one error (or nil) for each of r.Offsets.
// ErrGroupNotFound means a generation was given for a group that does not exist (ILLEGAL_GENERATION before OffsetCommit v9).
func (c *Coordinator) Commit(ctx context.Context, r CommitRequest) ([]error, error) {
	return nil, ErrNotCoordinator
}

// FetchOffsets gives the committed offsets of the named partitions in their order, or with topics nil all that the group has.
func (c *Coordinator) FetchOffsets(ctx context.Context, group string, topics []TopicPartitions) ([]TopicOffsets, error) {
	return nil, ErrNotCoordinator
}

// DeleteOffsets deletes committed offsets; the first result has one error (or nil) for each partition of each topic.
func (c *Coordinator) DeleteOffsets(ctx context.Context, group string, topics []TopicPartitions) ([][]error, error) {
	return nil, ErrNotCoordinator
}

// DeleteGroup deletes an empty group with its offsets.
func (c *Coordinator) DeleteGroup(ctx context.Context, group string) error { return ErrNotCoordinator }

// Describe shows a group; ErrGroupNotFound if there is none.
func (c *Coordinator) Describe(ctx context.Context, group string) (Description, error) {
	return Description{Group: group}, ErrNotCoordinator
}

// List shows all groups of the partitions that are loaded here. ErrLoading means that some are missing from the list.
func (c *Coordinator) List() ([]Listing, error) { return nil, nil }
