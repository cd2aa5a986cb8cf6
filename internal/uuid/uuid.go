// Package uuid holds the 128-bit identifiers of topics, disks and incarnations.
//
// Why: Kafka prints topic ids as URL-safe base64 without padding, which no general UUID library does, and the rest
// of what such a library offers is not needed here.
//
// Invariants:
//  1. The zero value means "no id" everywhere and is never minted by New.
//  2. Parse(u.String()) == u for every u.
//
// Concurrency: values are plain arrays; every function may be called from any goroutine.
//
// Files: uuid.go.
package uuid

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrSyntax is returned by Parse for text that is no id in Kafka's or the hexadecimal form.
var ErrSyntax = errors.New("uuid: bad syntax")

// UUID is a 128-bit identifier in network byte order. It is comparable and may be a map key.
type UUID [16]byte

// New mints a random (version 4) id. As Kafka does, it avoids ids whose text begins with a dash, which command lines
// would take for an option.
func New() UUID {
	for {
		var u UUID
		// crypto/rand.Read never fails: it ends the process instead.
		_, _ = rand.Read(u[:])
		u[6] = u[6]&0x0f | 0x40
		u[8] = u[8]&0x3f | 0x80
		if u[0]>>2 != 62 { // 62 is '-' in base64url
			return u
		}
	}
}

// Parse reads the 22-character base64url form that String prints, or the 36-character hexadecimal form with dashes.
func Parse(s string) (UUID, error) {
	var u UUID
	switch len(s) {
	case 22:
		var buf [18]byte
		n, err := base64.RawURLEncoding.Strict().Decode(buf[:], []byte(s))
		if err != nil || n != len(u) {
			return UUID{}, fmt.Errorf("parse id %q: %w", s, ErrSyntax)
		}
		copy(u[:], buf[:])
		return u, nil
	case 36:
		if s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
			return UUID{}, fmt.Errorf("parse id %q: %w", s, ErrSyntax)
		}
		digits := s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
		if _, err := hex.Decode(u[:], []byte(digits)); err != nil {
			return UUID{}, fmt.Errorf("parse id %q: %w", s, ErrSyntax)
		}
		return u, nil
	}
	return UUID{}, fmt.Errorf("parse id %.64q: %w", s, ErrSyntax)
}

// String returns the 22-character base64url form without padding, as Kafka prints topic ids.
func (u UUID) String() string { return base64.RawURLEncoding.EncodeToString(u[:]) }

// IsZero reports whether u is the zero id, "no id".
func (u UUID) IsZero() bool { return u == UUID{} }

// MarshalText returns String as bytes, so that ids appear as text in JSON, map keys included.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText is Parse for encoding packages.
func (u *UUID) UnmarshalText(text []byte) error {
	v, err := Parse(string(text))
	if err != nil {
		return err
	}
	*u = v
	return nil
}
