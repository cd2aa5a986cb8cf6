// Package kafkaserver serves the Kafka protocol to clients: connections, framing, limits, response order, and one file per API key
// (00_produce.go, 01_fetch.go, ...), so that a directory listing shows what is served.
//
// Invariants:
//
//  1. Responses leave a connection strictly in the order of its requests.
//  2. No input makes the server allocate more than its bounds, loop without end, or panic: sizes are checked before reading, bodies are
//     walked before they are decoded.
//  3. A produce with acks=all is answered with success only by its partition's high watermark passing it.
//  4. Only keys and versions that are served are advertised, with the ranges of Kafka 4.3.
//  5. Kafka error codes exist only in this package, and an unknown error is never success.
//
// Concurrency: one goroutine per connection reads, decodes and runs handlers, one request after the other; Produce does not block it.
// Responses are completed from any goroutine into the connection's slots; whoever makes the head ready writes without blocking, and a
// second goroutine of the connection finishes what the socket did not take. The connection's goroutine sends a large fetch response by
// itself, piece by piece, while its slot is at the head.
//
// Memory is bounded by Limits: read buffers by two budgets (ChunkBytes, InFlightBytes), records in fetch responses by FetchBytes, other
// responses by MaxResponseBytes per connection, decoding by maxDecodeBytes per request, fetch sessions by their number.
//
// Files: server.go (listeners, limits, Shutdown), conn.go (the reader), slot.go (ordered responses, the writer), janitor.go (timeouts),
// frame.go and walk.go with schema.go and schema_parse.go (input checks), dispatch.go (registration), response.go (encoding), budget.go
// and buffer.go (memory), errors*.go (error codes), fetch_session.go, fetch_stream.go, metadata_topic.go (the metadata log as a topic), topics.go
// (lookups), forward*.go (what the controller does), stats.go, and NN_*.go, one per API key.
//
// To add an API: write NN_name.go with a handler `func (s *Server) handleX(r *request, req *kmsg.XRequest) kmsg.Response`, register it
// in its init function as register shows, describe the request's fields in schema.go, and map new domain errors with mapErrors.
package kafkaserver
