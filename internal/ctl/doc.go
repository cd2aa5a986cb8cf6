// Package ctl is chronikctl: the command line for operating a Chronik cluster and for reading and writing records.
//
// Why: an operator at three in the morning has one tool, and it must say what is wrong, why, and what to type next.
//
// Invariants:
//  1. Commands are noun and verb; what help lists is finished. The older spelling `chronikctl status` is `cluster status` mounted again.
//  2. Commands return errors with exit codes (internal/cli); they never exit, and never touch os.Stdin, os.Stdout or the clock.
//  3. Deleting shows what will be gone and asks for the cluster's name. Creating asks nothing: it takes nothing away, and delete undoes it.
//  4. When some of several items fail, the others are done, every item is in the output, and the exit code is 5.
//
// Concurrency: each command runs in one goroutine; produce's acknowledgements arrive on the client's goroutines and meet behind one mutex.
//
// Files: root.go (commands), status.go, topic.go and topic_*.go, partition.go, partition_verify.go,
// produce.go, consume.go, consume_output.go, metadata.go, stream.go (JSON of unknown length).
package ctl
