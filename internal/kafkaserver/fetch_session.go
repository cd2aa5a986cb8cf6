package kafkaserver

// maxFetchSessions is max.incremental.fetch.session.cache.slots.
const maxFetchSessions = 1000

// fetchSessions holds the incremental fetch sessions (KIP-227) of this node.
type fetchSessions struct{ max int }

func newFetchSessions(max int) *fetchSessions { return &fetchSessions{max: max} }

// closed forgets what belongs to a connection.
func (f *fetchSessions) closed(*conn) {}
