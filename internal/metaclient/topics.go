package metaclient

import (
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-io/chronik/internal/cli"
)

// MetadataTopic is the metadata log as clients see it.
const MetadataTopic = "__chronik_metadata"

// TopicNames lists the names of all topics that this client may see, internal ones last.
func (c *Client) TopicNames(ctx context.Context) ([]string, error) {
	all, err := c.admin.ListTopicsWithInternal(ctx)
	if err != nil {
		return nil, err
	}
	var user, internal []string
	for _, t := range all.Sorted() {
		if t.Err != nil {
			continue // the client library remembers names that it was asked for and that do not exist
		}
		if t.IsInternal {
			internal = append(internal, t.Topic)
		} else {
			user = append(user, t.Topic)
		}
	}
	return append(user, internal...), nil
}

// RequireTopics returns the details of topics that must exist; a missing one is an error with the nearest name.
func (c *Client) RequireTopics(ctx context.Context, names ...string) (kadm.TopicDetails, error) {
	if slices.Contains(names, "") {
		return nil, cli.Usagef("a topic's name must not be empty")
	}
	found, err := c.admin.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return nil, Explain("look up topics", err)
	}
	for _, n := range names {
		t, ok := found[n]
		if ok && t.Err == nil {
			continue
		}
		if ok && !errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
			return nil, Explain("look up topic "+n, t.Err)
		}
		return nil, c.UnknownTopic(ctx, n)
	}
	return found, nil
}

// UnknownTopic is the error for a topic that does not exist, with the nearest name that does.
func (c *Client) UnknownTopic(ctx context.Context, name string) *cli.Error {
	e := cli.Failf("topic %s does not exist", name)
	known, err := c.TopicNames(ctx)
	if err != nil || slices.Contains(known, name) {
		return e
	}
	if s := cli.Nearest(name, known); s != "" {
		return cli.Failf("topic %s does not exist (did you mean %s?)", name, s)
	}
	return e
}
