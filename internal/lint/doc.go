// Package lint holds the repository's own rules as tests.
//
// Why: a rule that is only written down erodes. The layering of ARCHITECTURE.md, the few packages that may import a
// heavy library, the package comments and the sizes of files and functions are checked on every `go test`.
//
// Invariants:
//  1. Every internal package stands in exactly one layer of the table in layers_test.go; a new package is added there first.
//  2. Imports point only towards the leaves, or to a sibling that the table names.
//
// The package has no code outside its tests.
//
// Files: layers_test.go (imports), source_test.go (comments, sizes, words).
package lint
