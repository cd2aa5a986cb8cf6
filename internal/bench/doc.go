// Package bench is chronik-bench: how fast a Kafka-compatible cluster is, and whether it kept what it acknowledged.
//
// Why: figures are worth what their method is worth. Every tool in the field leaves out one of: saying its load model, measuring
// latency from the intended start, keeping every sample, telling when the client was the limit, and checking that the records are
// really there. This one leaves out none, and runs against Kafka too, so that both are measured with the same ruler.
//
// Invariants:
//  1. The report names its load model first: closed loop (N records outstanding), open loop (a rate; latency from the intended start)
//     or async (as much as the client takes; throughput only means something there).
//  2. No sample is dropped. What started in the warm-up is counted as discarded, what does not fit a histogram as overflow.
//  3. Every payload carries (run, producer, sequence, CRC). An acknowledgement without an offset, or with one that goes back, is a failure.
//  4. --verify reads everything back: an acknowledged record that is missing, doubled, out of order or changed makes exit code 1,
//     whatever the speed.
//  5. On the measuring path there is no lock and no allocation beyond the client library's: a client's records are finished by
//     one goroutine of it, which owns that client's histograms; the sampler takes them over by exchanging pointers.
//  6. Ctrl-C ends the load, drains what is outstanding, and reports.
//
// Concurrency: see recorder.go for the exchange of histograms, ring.go for the free records of the open loop.
//
// Files: options.go and command.go (flags), run.go (phases), sampler.go, recorder.go, payload.go, ring.go, topic.go, produce.go (closed loop),
// pump.go (open loop, async), consume.go, endtoend.go, operations.go (metadata), verify.go, environment.go, usage.go, report.go, report_text.go.
package bench
