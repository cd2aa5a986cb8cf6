package controller

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/metadata"
)

// ConfigOp is what an incremental alteration does to one setting. The numbers are Kafka's.
type ConfigOp int8

// The operations.
const (
	OpSet      ConfigOp = 0
	OpDelete   ConfigOp = 1
	OpAppend   ConfigOp = 2
	OpSubtract ConfigOp = 3
)

// ConfigChange is one operation on one setting; Value is nil for null.
type ConfigChange struct {
	Name  string
	Op    ConfigOp
	Value *string
}

// ResourceChanges are the changes to one resource: a topic, or a broker by its id, or all brokers' defaults by the name "".
type ResourceChanges struct {
	Resource metadata.Resource
	Changes  []ConfigChange
}

// IncrementalAlterConfigs changes single settings of resources, as one proposal: of each resource all changes or none. The results are
// in the order of the request; a resource that stands in it twice is refused each time.
func (c *Controller) IncrementalAlterConfigs(ctx context.Context, resources []ResourceChanges, validateOnly bool) ([]error, error) {
	return c.alterConfigs(ctx, resources, validateOnly, c.incremental)
}

// AlterConfigs replaces all settings of resources by those given, all of them OpSet.
func (c *Controller) AlterConfigs(ctx context.Context, resources []ResourceChanges, validateOnly bool) ([]error, error) {
	return c.alterConfigs(ctx, resources, validateOnly, c.replace)
}

// settings computes the settings of a resource after a request, from those before.
type settings func(r *ResourceChanges, before map[string]string) (map[string]string, error)

func (c *Controller) alterConfigs(ctx context.Context, resources []ResourceChanges, validateOnly bool, change settings) ([]error, error) {
	var results []error
	err := c.propose(ctx, "alter configs", func(d *draft) error {
		results = make([]error, len(resources))
		times := make(map[metadata.Resource]int, len(resources))
		for i := range resources {
			times[resources[i].Resource]++
		}
		for i := range resources {
			if r := &resources[i]; times[r.Resource] > 1 {
				results[i] = refuse(ErrInvalidRequest, "Each resource must appear at most once: %s %q", r.Resource.Type, r.Resource.Name)
			} else {
				results[i] = c.alterResource(d, r, change)
			}
		}
		if validateOnly {
			d.events = nil
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

func (c *Controller) alterResource(d *draft, r *ResourceChanges, change settings) error {
	if err := checkResource(d.image(), r.Resource); err != nil {
		return err
	}
	before := d.image().Config(r.Resource.Type, r.Resource.Name)
	after, err := change(r, before)
	if err != nil {
		return err
	}
	if r.Resource.Type == metadata.ResourceTopic {
		if err := checkTopicConfigs(after, false); err != nil {
			return err
		}
	}
	ev := &metadata.ConfigChanged{Resource: r.Resource.Type, Name: r.Resource.Name, Set: map[string]string{}}
	for k, v := range after {
		if old, had := before[k]; !had || old != v {
			ev.Set[k] = v
		}
	}
	for k := range before {
		if _, kept := after[k]; !kept {
			ev.Remove = append(ev.Remove, k)
		}
	}
	if len(ev.Set)+len(ev.Remove) == 0 {
		return nil
	}
	slices.Sort(ev.Remove)
	if err := checkClusterMinISR(ev); err != nil {
		return err
	}
	if err := checkMinISR(d.image(), ev); err != nil {
		return err
	}
	return d.add(ev)
}

// checkClusterMinISR refuses what would make min.insync.replicas depend on a broker or on the size of the cluster: which replicas are
// eligible to lead follows from it.
func checkClusterMinISR(ev *metadata.ConfigChanged) error {
	if ev.Resource != metadata.ResourceBroker {
		return nil
	}
	_, set := ev.Set[config.MinInsyncReplicas]
	removed := slices.Contains(ev.Remove, config.MinInsyncReplicas)
	switch {
	case ev.Name == "" && removed:
		return refuse(ErrInvalidConfig, "Cluster-level %s cannot be removed while ELR is enabled.", config.MinInsyncReplicas)
	case ev.Name != "" && set:
		return refuse(ErrInvalidConfig, "Broker-level %s cannot be altered while ELR is enabled.", config.MinInsyncReplicas)
	}
	return nil
}

// checkMinISR refuses what the image would refuse too (see metadata.ConfigChanged), with a sentence for the user.
func checkMinISR(im *metadata.Image, ev *metadata.ConfigChanged) error {
	_, set := ev.Set[config.MinInsyncReplicas]
	if !set && !slices.Contains(ev.Remove, config.MinInsyncReplicas) {
		return nil
	}
	for t := range im.Topics() {
		if ev.Resource == metadata.ResourceTopic && t.Name != ev.Name {
			continue
		}
		if _, own := im.Config(metadata.ResourceTopic, t.Name)[config.MinInsyncReplicas]; own && ev.Resource != metadata.ResourceTopic {
			continue
		}
		for n, p := range t.Partitions {
			if len(p.ISR) == 0 {
				return refuse(ErrInvalidConfig, "%s cannot be changed while partition %d of topic %s has no in-sync replica.", config.MinInsyncReplicas, n, t.Name)
			}
		}
	}
	return nil
}

// checkResource is whether the resource exists and is the user's to change.
func checkResource(im *metadata.Image, r metadata.Resource) error {
	switch r.Type {
	case metadata.ResourceTopic:
		if err := metadata.CheckTopicName(r.Name); err != nil {
			return refuse(ErrInvalidRequest, "%s", err)
		}
		t := im.Topic(r.Name)
		if t == nil && r.Name != metadata.MetadataTopic {
			return refuse(ErrUnknownTopic, "The topic '%s' does not exist.", r.Name)
		}
		if t == nil || t.Internal {
			return refuse(ErrInvalidRequest, "The settings of internal topic %s are the cluster's own.", r.Name)
		}
	case metadata.ResourceBroker:
		if r.Name == "" {
			return nil
		}
		id, err := strconv.ParseInt(r.Name, 10, 32)
		if err != nil || r.Name != strconv.FormatInt(id, 10) {
			return refuse(ErrInvalidRequest, "Node id must be an integer, but it is: %s", r.Name)
		}
		if id < 0 || im.Broker(int32(id)) == nil {
			return refuse(ErrInvalidRequest, "No broker with id %d is registered.", id)
		}
	default:
		return refuse(ErrInvalidRequest, "Unsupported resource type %s.", r.Type)
	}
	return nil
}

// normalize checks one value for the kind of resource.
func normalize(r metadata.Resource, name, value string) (string, error) {
	if r.Type == metadata.ResourceTopic {
		v, err := config.NormalizeTopic(name, value)
		if err != nil {
			return "", complain(err)
		}
		return v, nil
	}
	v, err := config.NormalizeDynamicBroker(name, value)
	switch {
	case errors.Is(err, config.ErrReadOnly):
		return "", refuse(ErrInvalidRequest, "Cannot update these configs dynamically: [%s]", name)
	case err != nil:
		return "", complain(err)
	}
	return v, nil
}

// complain makes a refusal of what the setting tables say of a value, in their words for users.
func complain(err error) error {
	text := err.Error()
	for _, class := range [...]error{config.ErrInvalidValue, config.ErrUnknownSetting} {
		text = strings.TrimPrefix(text, class.Error()+": ")
	}
	return refuse(ErrInvalidConfig, "%s", text)
}

func (c *Controller) incremental(r *ResourceChanges, before map[string]string) (map[string]string, error) {
	after := maps.Clone(before)
	if after == nil {
		after = make(map[string]string, len(r.Changes))
	}
	seen := make(map[string]bool, len(r.Changes))
	for _, ch := range r.Changes {
		if seen[ch.Name] {
			return nil, refuse(ErrInvalidRequest, "Error due to duplicate config keys")
		}
		seen[ch.Name] = true
		if ch.Op != OpDelete && ch.Value == nil {
			return nil, refuse(ErrInvalidRequest, "Null value not supported for : %s", ch.Name)
		}
	}
	for _, ch := range r.Changes {
		if err := c.changeOne(r.Resource, after, before, ch); err != nil {
			return nil, err
		}
	}
	return after, nil
}

func (c *Controller) changeOne(r metadata.Resource, after, before map[string]string, ch ConfigChange) error {
	switch ch.Op {
	case OpSet:
		v, err := normalize(r, ch.Name, *ch.Value)
		if err != nil {
			return err
		}
		after[ch.Name] = v
	case OpDelete:
		if s := config.BrokerSetting(ch.Name); r.Type == metadata.ResourceBroker && s != nil && s.ReadOnly {
			return refuse(ErrInvalidRequest, "Cannot update these configs dynamically: [%s]", ch.Name)
		}
		delete(after, ch.Name)
	case OpAppend, OpSubtract:
		current, err := c.currentList(r, before, ch)
		if err != nil {
			return err
		}
		v, err := normalize(r, ch.Name, strings.Join(applyList(current, config.SplitList(*ch.Value), ch.Op), ","))
		if err != nil {
			return err
		}
		after[ch.Name] = v
	default:
		return refuse(ErrInvalidRequest, "Unknown config operation %d", ch.Op)
	}
	return nil
}

// currentList is the list that an append or subtract starts from: the resource's own, or else the one that holds for it by default.
func (c *Controller) currentList(r metadata.Resource, before map[string]string, ch ConfigChange) ([]string, error) {
	var s *config.Setting
	if r.Type == metadata.ResourceTopic {
		s = config.TopicSetting(ch.Name)
	} else {
		s = config.BrokerSetting(ch.Name)
	}
	if s == nil || s.Type != config.TypeList {
		return nil, refuse(ErrInvalidConfig, "Can't append to or subtract from key %s because its type is not LIST.", ch.Name)
	}
	if own, ok := before[ch.Name]; ok {
		return config.SplitList(own), nil
	}
	if s.Default == nil {
		return nil, nil
	}
	return config.SplitList(*s.Default), nil
}

func applyList(current, operand []string, op ConfigOp) []string {
	out := slices.Clone(current)
	for _, e := range operand {
		switch i := slices.Index(out, e); {
		case op == OpAppend && i < 0:
			out = append(out, e)
		case op == OpSubtract && i >= 0:
			out = slices.Delete(out, i, i+1)
		}
	}
	return out
}

func (c *Controller) replace(r *ResourceChanges, before map[string]string) (map[string]string, error) {
	after := make(map[string]string, len(r.Changes))
	for _, ch := range r.Changes {
		if ch.Value == nil {
			return nil, refuse(ErrInvalidRequest, "Null value not supported for : %s", ch.Name)
		}
		if _, twice := after[ch.Name]; twice {
			return nil, refuse(ErrInvalidRequest, "Error due to duplicate config keys")
		}
		v, err := normalize(r.Resource, ch.Name, *ch.Value)
		if err != nil {
			return nil, err
		}
		after[ch.Name] = v
	}
	return after, nil
}
