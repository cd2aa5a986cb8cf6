// Package version holds the build's version string, stamped by the Makefile.
//
// It is a leaf that every binary imports, so that a server, a benchmark report and a bug report name the same build.
package version

// Version is the git description of the build, or "dev" for a plain `go build`.
var Version = "dev"
