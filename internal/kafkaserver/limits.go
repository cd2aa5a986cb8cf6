package kafkaserver

import "time"

// Bounds that no setting moves.
const (
	minFrameBytes     = 8        // API key, version, correlation id
	defaultFrameBytes = 1 << 20  // frames of an API that names no bound of its own
	maxStringBytes    = 32767    // Kafka's own bound on a string
	maxTagsPerStruct  = 64       // tagged fields of one struct; Kafka 4.3 uses at most 3
	maxDecodeBytes    = 64 << 20 // memory that one decoded request may take
	readChunkBytes    = 64 << 10 // what a connection reads at a time
	parkedBytes       = 4 << 10  // what a connection keeps of a frame that has only begun
	flushIovecs       = 64       // responses in one write
	janitorPeriod     = time.Second
	keepBuffer        = 5 * time.Second // how long a quiet connection keeps a large read buffer
	responseOverhead  = 64              // bytes charged for a queued response beside its body
)

// defaultLimits are Kafka's defaults where Kafka has the setting.
var defaultLimits = Limits{
	RequestMaxBytes:  100 << 20,
	MaxConnections:   10_000,
	MaxPerIP:         10_000,
	IdleTimeout:      10 * time.Minute,
	InFlightBytes:    192 << 20,
	ChunkBytes:       64 << 20,
	FetchBytes:       256 << 20,
	FrameTimeout:     30 * time.Second,
	WriteTimeout:     30 * time.Second,
	MaxInFlight:      128,
	MaxResponseBytes: 4 << 20,
}

// withDefaults fills the fields that are zero.
func (l Limits) withDefaults() Limits {
	d := defaultLimits
	setDefault(&l.RequestMaxBytes, d.RequestMaxBytes)
	setDefault(&l.MaxConnections, d.MaxConnections)
	setDefault(&l.MaxPerIP, d.MaxPerIP)
	setDefault(&l.IdleTimeout, d.IdleTimeout)
	setDefault(&l.InFlightBytes, max(d.InFlightBytes, 2*int64(l.RequestMaxBytes))) // the largest, in a buffer that has grown by doubling
	setDefault(&l.ChunkBytes, d.ChunkBytes)
	setDefault(&l.FetchBytes, d.FetchBytes)
	setDefault(&l.FrameTimeout, d.FrameTimeout)
	setDefault(&l.WriteTimeout, d.WriteTimeout)
	setDefault(&l.MaxInFlight, d.MaxInFlight)
	setDefault(&l.MaxResponseBytes, d.MaxResponseBytes)
	return l
}

func setDefault[T comparable](p *T, d T) {
	var zero T
	if *p == zero {
		*p = d
	}
}
