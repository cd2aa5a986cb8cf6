package kafkaserver

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// errorMapping says which Kafka error a domain error becomes on the wire.
type errorMapping struct {
	err  error
	code *kerr.Error
}

// errorTable is filled by init functions, one table per domain package, and constant afterwards. Order matters only between errors
// that wrap one another: the first match wins.
var errorTable []errorMapping

// mapErrors adds the errors of one domain package; called from init functions.
func mapErrors(m ...errorMapping) { errorTable = append(errorTable, m...) }

// errorCode is the only way from an error to a Kafka error code. Nil is 0; an error that no table knows is UNKNOWN_SERVER_ERROR,
// never success.
func errorCode(err error) int16 {
	code, _ := findError(err)
	return code
}

// errorKnown reports whether errorCode has an answer of its own for err; what it has not is worth a log line.
func errorKnown(err error) bool {
	_, known := findError(err)
	return known
}

func findError(err error) (code int16, known bool) {
	if err == nil {
		return 0, true
	}
	var ke *kerr.Error
	if errors.As(err, &ke) {
		return ke.Code, true
	}
	for i := range errorTable {
		if errors.Is(err, errorTable[i].err) {
			return errorTable[i].code.Code, true
		}
	}
	return kerr.UnknownServerError.Code, false
}

// errorText is the message that goes with errorCode where the protocol has a place for one: nil for success.
func errorText(err error) *string {
	if err == nil {
		return nil
	}
	s := printable(err.Error())
	return &s
}

// printable strips control characters, which clients may have put into names, from text that goes to logs and answers.
func printable(s string) string {
	clean := true
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			b = append(b, '?')
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}
