package config

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Report writes every setting with its value and origin.
func (c *Config) Report(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, k := range keys {
		value := k.get(c)
		if value == "" {
			value = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", k.name, value, c.Source(k.name))
	}
	for _, p := range c.Peers {
		fmt.Fprintf(t, "peer %d\tkafka %s, wal %s, raft %s\t\n", p.ID, p.Kafka, p.WAL, p.Raft)
	}
	for _, name := range c.KafkaNames() {
		fmt.Fprintf(t, "%s%s\t%s\t%s\n", kafkaPrefix, name, c.Kafka[name], c.Source(kafkaPrefix+name))
	}
	return t.Flush()
}
