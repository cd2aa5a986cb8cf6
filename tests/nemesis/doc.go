// Package nemesis damages a cluster of real server processes while a load runs on it, and measures how long the load then stands still.
//
// Why: what three processes promise when some of them are killed, stopped or started again can only be seen on processes; the simulator
// (internal/sim) knows the protocol, not the program around it.
//
// What another load needs is in the package itself: a Nemesis with a Schedule of seeded faults, a Progress that notes acknowledgements and
// finds the gaps between them, and an Observer that asks every node what it holds. The test of the metadata log is a load of topic
// creations, deletions and config changes. Each key's history is checked with porcupine (model_test.go says what is promised of reads), and
// every few rounds, at rest, the nodes' images are compared with each other and with what was acknowledged (settle_test.go).
//
// Invariants:
//  1. The same seed gives the same faults, in the same order and with the same lengths. Which node is the controller when one of them
//     comes is the cluster's doing.
//  2. When Do returns without an error, all processes run again and none is stopped.
//  3. An operation whose outcome is not known is open-ended. It is never taken for done or for not done.
//  4. A check that porcupine could not finish is an error of the run, never a pass.
//
// Environment: CHRONIK_NEMESIS_ROUNDS (rounds of faults), CHRONIK_SEED (of the faults and the load; printed by each run), and
// CHRONIK_NEMESIS_KILLS (kills of the controller in TestFailover, which does not run without it).
//
// Concurrency: a Nemesis and a Schedule belong to one goroutine, but Incarnation may be called from any. Progress and Observer may be used
// by all.
//
// Files: fault.go (faults and their schedule), nemesis.go (doing them), progress.go (acknowledgements and gaps), observer.go (what the
// nodes say). Tests: load_test.go, history_test.go, model_test.go, settle_test.go, metadata_test.go, failover_test.go.
package nemesis
