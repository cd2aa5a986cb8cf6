// Package testcluster runs real servers for tests: it builds bin/chronik-server once per test binary, starts processes on free
// ports with directories of their own, kills them, and starts them again.
//
// Why: what a process promises across kill -9 and SIGTERM can only be seen on a process.
//
// Invariants:
//  1. A process that was started is ended when its test ends, and its log is shown if the test failed.
//  2. Ports are chosen by the kernel at the first start and kept over restarts, as clients expect of a broker.
//
// Concurrency: a Server belongs to one goroutine, but Kill may be called from any.
//
// Files: server.go (one process), cluster.go (several that found a cluster), network.go (a proxy between them that cuts, delays and resets),
// owner.go (whose connection it is), ledger.go (what was acknowledged, and whether it is all there), offsets.go.
package testcluster
