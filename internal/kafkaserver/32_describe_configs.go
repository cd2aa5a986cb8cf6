package kafkaserver

import (
	"slices"
	"strconv"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.DescribeConfigs, min: 1, max: 4}, (*Server).handleDescribeConfigs)
}

// handleDescribeConfigs lists every setting of topics and of this broker, with the value that holds and where it comes from.
func (s *Server) handleDescribeConfigs(_ *request, req *kmsg.DescribeConfigsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeConfigsResponse()
	im := s.image()
	for i := range req.Resources {
		want := &req.Resources[i]
		res := kmsg.NewDescribeConfigsResponseResource()
		res.ResourceType, res.ResourceName = want.ResourceType, want.ResourceName
		message := "" // Kafka sends an empty message rather than none
		configs, err := s.describe(im, want)
		if err == nil {
			res.Configs = present(configs, req)
		} else if res.ErrorCode = errorCode(err); res.ErrorCode != kerr.UnknownTopicOrPartition.Code {
			message = *errorText(err)
		}
		res.ErrorMessage = &message
		resp.Resources = append(resp.Resources, res)
	}
	return resp
}

// described is one setting with all its values, the one that holds first among them or on its own.
type described struct {
	setting *config.Setting
	value   *string
	source  config.ValueSource
	values  []config.Value
	fixed   bool // cannot be changed at run time
}

func (s *Server) describe(im *metadata.Image, want *kmsg.DescribeConfigsRequestResource) ([]described, error) {
	var all []described
	switch want.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if err := metadata.CheckTopicName(want.ResourceName); err != nil {
			return nil, err
		}
		if im.Topic(want.ResourceName) == nil && want.ResourceName != metadata.MetadataTopic {
			return nil, kerr.UnknownTopicOrPartition
		}
		all = describeTopic(s.layers(im, want.ResourceName))
	case kmsg.ConfigResourceTypeBroker:
		if want.ResourceName == "" {
			all = describeDefaults(im)
			break
		}
		id, err := strconv.ParseInt(want.ResourceName, 10, 32)
		if err != nil {
			return nil, &controller.Refusal{Reason: controller.ErrInvalidRequest, Message: "Broker id must be an integer, but it is: " + want.ResourceName}
		}
		if int32(id) != s.deps.NodeID {
			return nil, &controller.Refusal{Reason: controller.ErrInvalidRequest, Message: "Unexpected broker id, expected " +
				strconv.Itoa(int(s.deps.NodeID)) + " or empty string, but received " + want.ResourceName}
		}
		all = describeBroker(s.shownLayers(im))
	default:
		return nil, &controller.Refusal{Reason: controller.ErrInvalidRequest, Message: "Unsupported resource type: " + want.ResourceType.String()}
	}
	if len(want.ConfigNames) == 0 {
		return all, nil
	}
	return slices.DeleteFunc(all, func(d described) bool { return !slices.Contains(want.ConfigNames, d.setting.Name) }), nil
}

func describeTopic(layers config.Layers) []described {
	table := config.TopicSettings()
	all := make([]described, len(table))
	for i := range table {
		value, source := config.Topic(&table[i], layers)
		all[i] = described{setting: &table[i], value: value, source: source, values: config.TopicValues(&table[i], layers)}
	}
	return all
}

func describeBroker(layers config.Layers) []described {
	table := config.BrokerSettings()
	all := make([]described, len(table))
	for i := range table {
		value, source := config.Broker(&table[i], layers)
		all[i] = described{setting: &table[i], value: value, source: source, values: config.BrokerValues(&table[i], layers), fixed: table[i].ReadOnly}
	}
	return all
}

// describeDefaults lists what was set at run time for all brokers, and nothing else.
func describeDefaults(im *metadata.Image) []described {
	var all []described
	set := im.Config(metadata.ResourceBroker, "")
	table := config.BrokerSettings()
	for i := range table {
		if v, ok := set[table[i].Name]; ok {
			values := []config.Value{{Name: table[i].Name, Text: &v, Source: config.SourceBrokerDefault}}
			all = append(all, described{&table[i], &v, config.SourceBrokerDefault, values, table[i].ReadOnly})
		}
	}
	return all
}

// present writes the settings in the form of the request's version and options.
func present(all []described, req *kmsg.DescribeConfigsRequest) []kmsg.DescribeConfigsResponseResourceConfig {
	configs := make([]kmsg.DescribeConfigsResponseResourceConfig, len(all))
	for i, d := range all {
		c := kmsg.NewDescribeConfigsResponseResourceConfig()
		c.Name, c.Value, c.ReadOnly = d.setting.Name, d.value, d.fixed
		c.Source, c.ConfigType = kmsg.ConfigSource(d.source), configType(d.setting.Type)
		if req.IncludeSynonyms {
			for _, v := range d.values {
				syn := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
				syn.Name, syn.Value, syn.Source = v.Name, v.Text, kmsg.ConfigSource(v.Source)
				c.ConfigSynonyms = append(c.ConfigSynonyms, syn)
			}
		}
		if req.IncludeDocumentation {
			c.Documentation = &d.setting.Doc
		}
		configs[i] = c
	}
	return configs
}
