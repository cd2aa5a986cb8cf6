package partition

// bugs are mistakes that a test can switch on, to prove that the replay test would find them. All are off outside tests.
type bugs struct {
	moveWithoutDrop     bool // Drop writes no record
	inferLogStart       bool // AdvanceStart writes no record
	forgetTruncate      bool // Truncate writes no record
	stateMerges         bool // replay of a State keeps what the view has already
	stateBuiltApart     bool // a State is built under the lock and enqueued after it
	recycleWithoutState bool // slots are recycled without restating the partitions named in them
	stateBeforeSync     bool // a State names segment bytes that are not synced
	noCut               bool // segments are not cut to the synced end
	aboveHighWatermark  bool // segments take what is above the high watermark
	forgetProducers     bool // States carry no producers
	forgetReset         bool // Reset writes no record
	resetKeepsFiles     bool // Reset leaves the list of segments as it was
	keepViewGen         bool // a cut below the high watermark does not stop a segment from being written
	truncateKeepsMark   bool // replay of an unclean truncation leaves the high watermark
	moveForgotten       bool // replay ignores Move
	moveUnchecked       bool // a batch is moved although it was cut meanwhile
	oldestAssumed       bool // the oldest WAL record needed is taken to be that of the first batch, moved or not

	betweenBuildAndEnqueue func()     // runs in the gap that stateBuiltApart opens
	meanwhile              func(*Log) // runs where the maintenance works on a log without its lock
}
