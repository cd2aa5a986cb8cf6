package metaclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-io/chronik/internal/cli"
)

// ErrNoMetadataLog says that the cluster keeps no __chronik_metadata that this client may read.
var ErrNoMetadataLog = errors.New("the cluster has no " + MetadataTopic + " topic: it is no Chronik cluster, or this user may not read it")

// Explain turns an error of an exchange with the cluster into one with an exit code and a cause that a person can act on.
// what is verb and noun: "create topic orders".
func Explain(what string, err error) error {
	if err == nil {
		return nil
	}
	var done *cli.Error
	if errors.As(err, &done) {
		return err
	}
	e := &cli.Error{Code: Code(err), What: what, Err: err}
	var ke *kerr.Error
	switch {
	case errors.As(err, &ke):
		e.Err = KafkaError(ke)
	case errors.Is(err, context.Canceled):
		e.Code = cli.ExitInterrupted
	case e.Code == cli.ExitUnreachable:
		e.Err = fmt.Errorf("the cluster did not answer in time or hung up (%w)", rootCause(err))
		e.Next = "chronikctl status   (or a longer --timeout)"
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			e.Err = errors.New("the node hung up: it does not serve yet, or this is not its Kafka port")
			e.Next = "see its log for what it waits for, or ask another node with -b HOST:PORT"
		}
	}
	return e
}

// Code is the exit code of an error of an exchange with the cluster.
func Code(err error) int {
	var netErr net.Error
	switch {
	case err == nil:
		return cli.ExitOK
	case isDenied(err):
		return cli.ExitDenied
	case errors.Is(err, context.Canceled):
		return cli.ExitInterrupted
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, kgo.ErrRecordTimeout), errors.Is(err, kgo.ErrClientClosed), errors.Is(err, kerr.RequestTimedOut), kgo.IsRetryableBrokerErr(err):
		return cli.ExitUnreachable
	}
	return cli.ExitFailed
}

func isDenied(err error) bool {
	for _, d := range []error{kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
		kerr.TransactionalIDAuthorizationFailed, kerr.DelegationTokenAuthorizationFailed, kerr.SaslAuthenticationFailed} {
		if errors.Is(err, d) {
			return true
		}
	}
	return false
}

// KafkaError renders one of Kafka's errors: NAME (sentence).
func KafkaError(ke *kerr.Error) error {
	d := strings.TrimSuffix(ke.Description, ".")
	return fmt.Errorf("%s (%s)", ke.Message, d)
}

// Cause renders an error in few words: Kafka's name for it where there is one.
func Cause(err error) string {
	var ke *kerr.Error
	if errors.As(err, &ke) {
		return ke.Message
	}
	return rootCause(err).Error()
}

func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
