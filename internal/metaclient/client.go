package metaclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/version"
)

// maxDial bounds the first contact with one address.
const maxDial = 3 * time.Second

// Client is a connection to a cluster.
type Client struct {
	Target Target
	kafka  *kgo.Client
	admin  *kadm.Client
	base   []kgo.Opt
	nodes  nodeClients
}

// Open builds a client for the cluster that the flags name. Nothing is dialled yet.
func Open(app *cli.App, opts ...kgo.Opt) (*Client, error) {
	target, err := ResolveTarget(app)
	if err != nil {
		return nil, err
	}
	return OpenTarget(app.Name, target, opts...)
}

// Connect opens a client and makes sure that a broker can be reached.
func Connect(ctx context.Context, app *cli.App, opts ...kgo.Opt) (*Client, error) {
	c, err := Open(app, opts...)
	if err != nil {
		return nil, err
	}
	app.Verbosef("connecting to %s (from %s)", strings.Join(c.Target.Bootstrap, ", "), c.Target.Source)
	ctx, cancel := app.WithTimeout(ctx)
	defer cancel()
	if err := c.Reach(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// OpenTarget builds a client for a known target; tool is the binary's name.
func OpenTarget(tool string, target Target, opts ...kgo.Opt) (*Client, error) {
	base, err := BaseOptions(tool, target)
	if err != nil {
		return nil, err
	}
	kc, err := kgo.NewClient(append(append([]kgo.Opt(nil), base...), opts...)...)
	if err != nil {
		return nil, cli.Usagef("client: %v", err)
	}
	return &Client{Target: target, kafka: kc, admin: kadm.NewClient(kc), base: base}, nil
}

// BaseOptions are the options of every connection of a tool to the target.
func BaseOptions(tool string, target Target) ([]kgo.Opt, error) {
	opts, err := settingOptions(target.Settings)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(tool, "chronik") {
		tool = "chronik-" + tool
	}
	base := []kgo.Opt{
		kgo.SeedBrokers(target.Bootstrap...),
		kgo.ClientID(tool),
		kgo.SoftwareNameAndVersion(tool, softwareVersion()),
		kgo.DialTimeout(maxDial),
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.MaxVersions(knownVersions()),
	}
	return append(base, opts...), nil
}

// knownVersions are the requests of Kafka that the client library knows, and ours, which it would refuse to send otherwise.
func knownVersions() *kversion.Versions {
	v := kversion.Stable()
	for k := chronikapi.FirstKey; k <= chronikapi.LastKey; k++ {
		v.SetMaxKeyVersion(k, chronikapi.RequestForKey(k).MaxVersion())
	}
	return v
}

var notInSoftwareVersion = regexp.MustCompile(`[^a-zA-Z0-9.\-]+`)

// softwareVersion is the build in the characters that Kafka allows.
func softwareVersion() string {
	v := strings.Trim(notInSoftwareVersion.ReplaceAllString(version.Version, "-"), "-.")
	if v == "" {
		return "dev"
	}
	return v
}

// Kafka is the raw client, Admin the admin client on the same connections.
func (c *Client) Kafka() *kgo.Client { return c.kafka }

// Admin is the admin client on the same connections.
func (c *Client) Admin() *kadm.Client { return c.admin }

// With opens another raw client to the same target, for a consumer or a producer of its own.
func (c *Client) With(opts ...kgo.Opt) (*kgo.Client, error) {
	kc, err := kgo.NewClient(append(append([]kgo.Opt(nil), c.base...), opts...)...)
	if err != nil {
		return nil, cli.Usagef("client: %v", err)
	}
	return kc, nil
}

// Close closes all connections.
func (c *Client) Close() {
	c.nodes.close()
	c.kafka.Close()
}

// Reach returns as soon as one address accepts a connection. When none does it names all of them with their causes at
// once; a client library would go on trying until the timeout and then say only that.
func (c *Client) Reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxDial)
	defer cancel()
	type result struct {
		addr string
		err  error
	}
	results := make(chan result, len(c.Target.Bootstrap))
	for _, a := range c.Target.Bootstrap {
		go func() {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", a)
			if err == nil {
				conn.Close()
			}
			results <- result{a, err}
		}()
	}
	var causes []string
	for range c.Target.Bootstrap {
		r := <-results
		if r.err == nil || errors.Is(r.err, syscall.ECONNRESET) { // somebody is there and hangs up: what is asked next tells more
			return nil
		}
		if errors.Is(r.err, context.Canceled) {
			return r.err
		}
		causes = append(causes, fmt.Sprintf("%s: %s", r.addr, dialCause(r.err)))
	}
	return &cli.Error{Code: cli.ExitUnreachable,
		What: "cannot reach the cluster (address from " + c.Target.Source + "): " + strings.Join(causes, "; "),
		Next: "chronik-server start   (or -b HOST:PORT of a running broker)"}
}

// dialCause is the part of a dial error that a person needs.
func dialCause(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return "no such host"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer"
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return strings.TrimPrefix(op.Err.Error(), "connect: ")
	}
	return err.Error()
}
