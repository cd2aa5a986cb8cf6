package config

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// Options says where Load looks.
type Options struct {
	File  string         // path of a TOML file; "" for none
	Flags *pflag.FlagSet // flags registered by RegisterFlags; nil for none
}

// RegisterFlags adds the server's flags to a command.
func RegisterFlags(fs *pflag.FlagSet) {
	for _, k := range keys {
		if k.flag == "" {
			continue
		}
		switch d := k.fallback.(type) {
		case int:
			fs.Int(k.flag, d, k.doc)
		case string:
			fs.String(k.flag, d, k.doc)
		}
	}
}

// Load reads and checks the configuration. Every error names where the wrong value stands and what to do about it.
func Load(o Options) (*Config, error) {
	doc := &document{values: map[string]any{}}
	if o.File != "" {
		text, err := readFile(o.File)
		if err != nil {
			return nil, err
		}
		if doc, err = parseDocument(o.File, text); err != nil {
			return nil, err
		}
	}
	if err := checkNames(doc); err != nil {
		return nil, err
	}
	if err := checkEnvironment(os.Environ()); err != nil {
		return nil, err
	}
	v, err := layers(doc, o.Flags)
	if err != nil {
		return nil, err
	}
	c := &Config{File: o.File, Kafka: map[string]string{}, sources: map[string]Source{}}
	for _, k := range keys {
		c.sources[k.name] = sourceOf(k.name, k.flag, doc, o.Flags)
		value, err := convert(v.Get(k.name), k.fallback)
		if err != nil {
			return nil, c.where(k.name, fmt.Errorf("%s: %w", k.name, err))
		}
		if n, ok := value.(int); ok && k.name == "node_id" && (n < 0 || n > math.MaxInt32) {
			return nil, c.where(k.name, fmt.Errorf("%s: %w: %d", k.name, ErrInvalidValue, n))
		}
		k.set(c, value)
	}
	if err := c.loadKafka(v, doc); err != nil {
		return nil, err
	}
	if c.Peers, err = loadPeers(doc); err != nil {
		return nil, err
	}
	return c, c.finish(doc)
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if info.Size() > maxFileBytes {
		return nil, fmt.Errorf("read configuration %s: %w: %d bytes, at most %d", path, ErrInvalidValue, info.Size(), maxFileBytes)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return text, nil
}

// layers hands defaults, file, environment and flags to viper, which knows their precedence. Keys are flat: Kafka's names
// have dots of their own.
func layers(doc *document, flags *pflag.FlagSet) (*viper.Viper, error) {
	v := viper.NewWithOptions(viper.KeyDelimiter("::"))
	for _, k := range keys {
		v.SetDefault(k.name, k.fallback)
		if err := v.BindEnv(k.name, envName(k.name)); err != nil {
			return nil, fmt.Errorf("bind environment of %s: %w", k.name, err)
		}
		if flags == nil || k.flag == "" {
			continue
		}
		if f := flags.Lookup(k.flag); f != nil {
			if err := v.BindPFlag(k.name, f); err != nil {
				return nil, fmt.Errorf("bind flag --%s: %w", k.flag, err)
			}
		}
	}
	for _, name := range kafkaNames() {
		if err := v.BindEnv(kafkaPrefix+name, envName(kafkaPrefix+name)); err != nil {
			return nil, fmt.Errorf("bind environment of %s: %w", name, err)
		}
	}
	if err := v.MergeConfigMap(doc.values); err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", doc.path, err)
	}
	return v, nil
}

func sourceOf(name, flag string, doc *document, flags *pflag.FlagSet) Source {
	if flags != nil && flag != "" {
		if f := flags.Lookup(flag); f != nil && f.Changed {
			return Source{Kind: FromFlag, Name: flag}
		}
	}
	if os.Getenv(envName(name)) != "" {
		return Source{Kind: FromEnv, Name: envName(name)}
	}
	if line := doc.line(name); line > 0 {
		return Source{Kind: FromFile, Line: line}
	}
	return Source{}
}

// convert gives a value the type of like, strictly: a number in quotes is right in the environment and in a flag only
// because there everything is text.
func convert(v, like any) (any, error) {
	switch like.(type) {
	case int:
		switch v := v.(type) {
		case int:
			return v, nil
		case int64:
			return int(v), nil
		case string:
			n, err := strconv.Atoi(strings.TrimSpace(v))
			if err != nil {
				return nil, fmt.Errorf("%w: %q is not a number", ErrInvalidValue, v)
			}
			return n, nil
		}
		return nil, fmt.Errorf("%w: %v is not a whole number", ErrInvalidValue, v)
	case []string:
		return convertList(v)
	default:
		if s, ok := v.(string); ok {
			return strings.TrimSpace(s), nil
		}
		return nil, fmt.Errorf("%w: %v is not a text in quotes", ErrInvalidValue, v)
	}
}

func convertList(v any) ([]string, error) {
	var list []string
	switch v := v.(type) {
	case []string:
		return v, nil
	case string:
		for s := range strings.SplitSeq(v, ",") {
			if s = strings.TrimSpace(s); s != "" {
				list = append(list, s)
			}
		}
		return list, nil
	case []any:
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf("%w: %v is not a text in quotes", ErrInvalidValue, e)
			}
			list = append(list, s)
		}
		return list, nil
	}
	return nil, fmt.Errorf("%w: %v is not a list", ErrInvalidValue, v)
}

// loadKafka collects the explicit Kafka settings as text, as they are in Kafka's own properties file.
func (c *Config) loadKafka(v *viper.Viper, doc *document) error {
	for _, name := range kafkaNames() {
		full := kafkaPrefix + name
		source := sourceOf(full, "", doc, nil)
		if source.Kind == FromDefault {
			continue
		}
		c.sources[full] = source
		text, err := propertyText(v.Get(full))
		if err != nil {
			return c.where(full, fmt.Errorf("%s: %w", name, err))
		}
		if text, err = NormalizeBroker(name, text); err != nil {
			return c.where(full, err)
		}
		c.Kafka[name] = text
	}
	return nil
}

// propertyText writes a TOML value as it would stand in a properties file.
func propertyText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return strings.TrimSpace(v), nil
	case bool, int, int64, float64:
		return fmt.Sprint(v), nil
	case []any:
		parts := make([]string, 0, len(v))
		for _, e := range v {
			p, err := propertyText(e)
			if err != nil {
				return "", err
			}
			parts = append(parts, p)
		}
		return strings.Join(parts, ","), nil
	}
	return "", fmt.Errorf("%w: %v", ErrInvalidValue, v)
}

// loadPeers reads [[peers]], which only the file can hold.
func loadPeers(doc *document) ([]Peer, error) {
	var peers []Peer
	for i := range maxPeers + 1 {
		prefix := fmt.Sprintf("peers[%d].", i)
		var p Peer
		found := false
		for _, name := range peerKeys {
			v, ok := doc.values[prefix+name]
			if !ok {
				continue
			}
			found = true
			if err := p.set(name, v); err != nil {
				return nil, doc.errorf(doc.line(prefix+name), "peers.%s: %w", name, err)
			}
		}
		if !found {
			return peers, nil
		}
		peers = append(peers, p)
	}
	return nil, doc.errorf(doc.line("peers[0].id"), "%w: more than %d peers", ErrInvalidValue, maxPeers)
}

func (p *Peer) set(name string, v any) error {
	if name == "id" {
		n, err := convert(v, 0)
		if err != nil {
			return err
		}
		if n.(int) < 0 || n.(int) > math.MaxInt32 {
			return fmt.Errorf("%w: %d", ErrInvalidValue, n)
		}
		p.ID = int32(n.(int))
		return nil
	}
	s, err := convert(v, "")
	if err != nil {
		return err
	}
	switch name {
	case "kafka":
		p.Kafka = s.(string)
	case "wal":
		p.WAL = s.(string)
	default:
		p.Raft = s.(string)
	}
	return nil
}

// where adds the place of a key to an error.
func (c *Config) where(name string, err error) error {
	switch s := c.sources[name]; s.Kind {
	case FromFile:
		return fmt.Errorf("%s:%d: %w", c.File, s.Line, err)
	case FromDefault:
		return err
	default:
		return fmt.Errorf("%s: %w", s, err)
	}
}

// KafkaNames returns the names of the explicit Kafka settings, sorted.
func (c *Config) KafkaNames() []string { return slices.Sorted(maps.Keys(c.Kafka)) }
