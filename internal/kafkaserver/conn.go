package kafkaserver

// defaultFrameBytes bounds the frame of an API that names no bound of its own.
const defaultFrameBytes = 1 << 20

// conn is one client connection.
type conn struct{}
