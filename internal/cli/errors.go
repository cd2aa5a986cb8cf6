package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Exit codes. They are part of the contract: scripts branch on them.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitUnreachable = 3 // no broker answered, or not in time
	ExitDenied      = 4
	ExitPartial     = 5  // some items failed, the others are done
	ExitDeclined    = 6  // the person at the prompt said no
	ExitNo          = 10 // the command worked and the answer is "no": unhealthy, differs, corrupt, target missed
	ExitInterrupted = 130
)

// Error is a failure as a person needs it: what failed, why, and what to type next.
type Error struct {
	Code int
	What string // "create topic orders"
	Err  error  // the cause; may be nil
	Next string // a command or an action; may be empty
	// Silent errors set the exit code only: the output has said it already.
	Silent bool
}

func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.What
	case e.What == "":
		return e.Err.Error()
	}
	return e.What + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Usagef is a mistake in what was typed.
func Usagef(format string, args ...any) *Error {
	return &Error{Code: ExitUsage, What: fmt.Sprintf(format, args...)}
}

// Failf is a failure that fits no other code.
func Failf(format string, args ...any) *Error {
	return &Error{Code: ExitFailed, What: fmt.Sprintf(format, args...)}
}

// WithNext adds what to type next.
func (e *Error) WithNext(format string, args ...any) *Error {
	e.Next = fmt.Sprintf(format, args...)
	return e
}

// SilentExit ends a command with a code when its output has already said everything.
func SilentExit(code int) error { return &Error{Code: code, Silent: true} }

// ExitCode maps an error to the process's exit code.
func ExitCode(err error) int {
	var e *Error
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		return ExitUnreachable
	case isUsage(err):
		return ExitUsage
	}
	return ExitFailed
}

// isUsage recognises cobra's own complaints about what was typed; cobra has no type for them.
func isUsage(err error) bool {
	s := err.Error()
	for _, p := range []string{"unknown command", "unknown flag", "unknown shorthand", "flag needs an argument", "invalid argument", "accepts ", "requires at least", "required flag", "bad flag syntax"} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return strings.Contains(s, "if any flags in the group")
}
