package controller

import (
	"strconv"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/metadata"
)

// Layers are the places a setting's value may come from, for a topic ("" for a broker's own settings) as a broker sees it. static are
// the settings that broker was started with.
func Layers(im *metadata.Image, static map[string]string, broker int32, topic string) config.Layers {
	l := config.Layers{
		Broker:  im.Config(metadata.ResourceBroker, strconv.Itoa(int(broker))),
		Default: im.Config(metadata.ResourceBroker, ""),
		Static:  static,
		Auto:    autoDefaults(max(im.BrokerCount(), len(im.Cluster().Founders))),
	}
	if topic != "" {
		l.Topic = im.Config(metadata.ResourceTopic, topic)
	}
	return l
}

// autoDefaults are the defaults that follow from the size of the cluster, the founders that have not registered yet included: three
// replicas as soon as there are three brokers. How many of them must have a record is in the image; see RegisterBroker.
func autoDefaults(brokers int) map[string]string {
	switch {
	case brokers >= 3:
		return autoThree
	case brokers == 2:
		return autoTwo
	}
	return autoOne
}

var (
	autoOne   = map[string]string{config.DefaultReplicationFactor: "1", config.OffsetsTopicReplicationFactor: "1"}
	autoTwo   = map[string]string{config.DefaultReplicationFactor: "2", config.OffsetsTopicReplicationFactor: "2"}
	autoThree = map[string]string{config.DefaultReplicationFactor: "3", config.OffsetsTopicReplicationFactor: "3"}
)

func (c *Controller) layers(im *metadata.Image, topic string) config.Layers {
	return Layers(im, c.static, c.nodeID, topic)
}

// brokerInt is the value of a number among the broker settings, which is never null.
func (c *Controller) brokerInt(im *metadata.Image, name string) int64 {
	return config.BrokerInt(name, c.layers(im, ""))
}
