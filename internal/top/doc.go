// Package top is chronik-top: a live view of a cluster in the terminal.
//
// Why: the metadata log is the spine of a cluster, and watching it live, with what each entry changed and how the cluster looked at that
// entry, answers "what happened" faster than any log file. So every screen is a fold over the log plus sampled gauges.
//
// Invariants:
//  1. Update and View do no I/O and read no clock: all they know is in the model and in one immutable Snapshot, which carries its time.
//  2. The collector makes at most ten snapshots per second. Its memory is bounded: what falls out of the ring of events is counted and shown.
//  3. The image is folded with the server's own Apply. Any kept event can be looked at as of its offset.
//  4. Live and replay feed the same collector with the same inputs; a recording shows again what was on the screen.
//  5. A state is never told by colour alone: symbol, word, colour. Every theme and --ascii show the same words.
//  6. Whatever the size, View returns at most height lines of at most width columns.
//  7. The program only reads. `!` shows the chronikctl command for what is selected.
//
// Concurrency: live.go's goroutines send inputs into one channel (bound 64; senders wait); the collector goroutine owns all state and hands
// out snapshots; bubbletea's goroutine owns the model.
//
// Files: input.go (what is fed in), live.go, replay.go, collector.go, snapshot.go, model.go, keys.go, filter.go, theme.go, layout.go,
// view.go, view_overview.go, view_metadata.go, view_help.go, once.go, command.go.
package top
