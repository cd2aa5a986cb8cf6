// Package sim runs the protocol of the metadata log, the same metalog.Core as in production, on simulated machines under faults, and
// checks its invariants with the eyes of somebody who sees everything.
//
// Why it exists: bugs of consensus hide in orders of events that no test of real processes meets. Here a seed is a run: one scheduler,
// one source of randomness, no clock. A million runs are a matter of minutes, and one that fails is replayed with one command:
//
//	CHRONIK_SEED=4711 go test ./internal/sim -run TestSeeds -v
//
// What is simulated: an election oracle that names leaders as badly as it can (two in a term, stale terms, members that do not vote);
// messages lost, repeated, reordered and delayed, and links cut in one direction; process crashes and power losses; commits that were
// torn, or that survive the crash of a process in the page cache only; damage to old commits, found at the next start; disks wiped, with
// the member removed and added again; disks put back to an older state; voters that come and go; images, their installation, and
// recycled logs. Weights are drawn per seed, so that some seeds do little else than one thing.
//
// "No violation" means nothing if the simulator cannot fail. So every rule of the protocol has a bug that leaves it out (metalog.Bugs,
// and those of the disk here), and TestScorecard demands that each is found within its budget of seeds.
//
// # Invariants of the simulator
//
//  1. A run depends on its seed and options only: no map order, no time, no goroutine.
//  2. Everything a core wants done is done through its Output; the simulator never changes a core's state.
//
// # Concurrency
//
// A run belongs to one goroutine. Many may run at once.
//
// # Files
//
//	world.go    nodes, scheduler, the weights of a seed
//	disk.go     commits, what survives a crash, recovery
//	faults.go   crashes, damage, wipes, restored disks, cut links
//	actions.go  claims, proposals, changes of voters, images
//	check.go    the invariants
//	liveness.go the end of a run: faults stop, and the log must go on
//	bugs.go     the scorecard
//
// # The data plane
//
// A plane is a second world: machines with replicas of one or two partitions, driven by the cores of package replica, and the real
// controller.Controller deciding on images. Around the cores it does what that package does with goroutines and streams: frames with
// sequences, cumulative acks, refusals, readiness, connections whose ends learn apart that they are broken, a WAL with one commit being
// written. Metadata is one history that machines see with delay (TestPlaneSeeds), or the log of a World under its own faults, with
// deposed controllers that go on deciding (TestEndToEndSeeds). Replay: CHRONIK_SEED=n go test ./internal/sim -run '^TestPlaneSeeds$' -v.
//
//	plane.go          machines, the weights of a seed, crashes, wipes, lost commits
//	plane_events.go   the scheduler
//	plane_log.go      the WAL and the logs of a machine
//	plane_replica.go  roles, pushes taken, high watermarks
//	plane_stream.go   streams: frames, acks, refusals, readiness
//	plane_produce.go  clients
//	plane_meta.go     the history of metadata, and the controllers' log
//	plane_control.go  registration, fencing, ISR proposals, elections
//	plane_full.go     the metadata log of a World in the place of the history
//	plane_check.go    the invariants
//	plane_live.go     the end of a run
//	plane_bugs.go     the scorecard
package sim
