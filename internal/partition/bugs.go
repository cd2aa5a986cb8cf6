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

	betweenBuildAndEnqueue func() // runs in the gap that stateBuiltApart opens
}
