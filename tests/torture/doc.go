// Package torture damages three real server processes, the network between them and their disks, while producers and consumers run, and
// then looks whether anything that was promised is missing.
//
// Why: replication is simulated (internal/sim), but what three programs promise together can only be seen on three programs.
//
// The load: idempotent producers and one that is not, all with acks=all and values that stand for one record only; topics that are
// created by being named; bursts of large records into topics that are deleted in the end; consumers that follow, and ones that begin again at old offsets; group offsets that only rise. The checks:
//
//  1. What was acknowledged is there, at its offset. What a consumer was given at an offset is there at that offset, whoever was asked.
//  2. Idempotent producers' records are there once. Every producer's records are in order in each partition. There are no gaps.
//  3. A committed group offset is never below one that was acknowledged before it was asked for.
//  4. At rest all in-sync replica sets are full again within a bound, and the data directories of the stopped nodes hold the same bytes
//     below the high watermark, partition by partition.
//  5. After each fault all partitions acknowledge again within a bound.
//
// A seed determines the faults, their order and their lengths. Whom "the leader" or "the controller" means is decided when they come.
//
// Environment: CHRONIK_TORTURE_FAULTS (how many), CHRONIK_TORTURE_TIME (how long, instead), CHRONIK_SEED, and CHRONIK_TORTURE_KINDS (a
// regular expression for the kinds of faults). Disks that fill need the right to mount; failing and slow disks need strace. Without
// them those kinds are left out, and the report says so.
//
// Files: fault.go (faults and their schedule), do.go (doing them), disk.go (disks), load_test.go (producers), burst_test.go, consume_test.go
// (consumers, commits), settle_test.go (checks at rest), torture_test.go (the run).
package torture
