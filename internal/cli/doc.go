// Package cli is what the command-line tools have in common: flags, printers, prompts, progress, exit codes, completion.
//
// Why: chronikctl, chronik-bench and chronik-top promise one contract (the same flags, the same output formats, the same
// exit codes). A contract that every command implements by itself is broken by the third command, so it lives here once.
//
// Invariants:
//  1. Standard output holds only what was asked for; everything else (progress, hints, errors) goes to standard error.
//  2. `-o json` prints exactly one valid JSON document that starts with "kind" and "version", also when items failed.
//  3. Every error becomes one of the exit codes in errors.go, in Main and nowhere else. A command returns errors; it never exits.
//  4. All input and output goes through Env: a test runs every command without a terminal, a clock or a process.
//  5. Nothing is told by colour alone: a state is a symbol, a word and then perhaps a colour.
//  6. A change asks first and the answer defaults to No; without a terminal it needs --yes or --dry-run.
//
// Concurrency: an App belongs to the goroutine that runs the command. Progress may be updated from any goroutine; it owns a mutex.
//
// Files: env.go (input and output), app.go (root command, Main), flags.go, errors.go (exit codes), output.go (formats),
// table.go, style.go (colour), prompt.go, progress.go, suggest.go (did you mean), completion.go, size.go (numbers, sizes, times).
package cli
