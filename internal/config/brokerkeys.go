package config

import "sync"

// kafkaNames lists the Kafka settings that [kafka] may hold. Those that follow from other keys are among them, so that the
// error about them says what to do instead of calling them unknown.
var kafkaNames = sync.OnceValue(func() []string {
	settings := BrokerSettings()
	names := make([]string, 0, len(settings))
	for i := range settings {
		names = append(names, settings[i].Name)
	}
	return names
})
