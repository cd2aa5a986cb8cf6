package kafkaserver

// slot is a response's place in its connection's order.
type slot struct{}
