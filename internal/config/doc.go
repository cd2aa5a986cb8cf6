// Package config holds the server's settings: their names, defaults, sources and validation, and the tables of the
// Kafka settings that Chronik supports.
//
// Why: a wrong setting must stop the server before it touches a disk or a port, with a message that names the line and
// the key that was probably meant. Every other package gets a Config that has already been checked.
//
// Invariants:
//  1. One precedence for every key: flag > environment > file > default. Source says which one won.
//  2. An unknown key is an error, never ignored. So is a key given twice under two names with different values.
//  3. A listener off loopback needs TLS and authentication, or its name in `insecure`.
//  4. A Config is immutable after Load; it holds no secret.
//
// Concurrency: Load is a pure function of its Options; a Config may be shared by all goroutines.
//
// Files: config.go (the types and defaults), keys.go (the table of keys), file.go (TOML with line numbers), load.go (the
// precedence), validate.go (contradictions, addresses, security), nearest.go (spelling), kafka_*.go (the tables of Kafka's
// broker and topic settings).
package config
