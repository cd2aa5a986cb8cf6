package metadata

import (
	"bytes"
	"strings"
	"testing"
)

// A secret is in no byte of a redacted image's snapshot; everything else is, and an image without secrets is itself.
func TestRedacted(t *testing.T) {
	const secret = "hunter2"
	im, _, err := Apply(Empty(), Entry{Offset: 0, Event: &ConfigChanged{Resource: ResourceBroker, Name: "1",
		Set: map[string]string{"ssl.keystore.password": secret, "sasl.jaas.config": secret, "log.retention.ms": "7"}}})
	if err != nil {
		t.Fatal(err)
	}
	shown, n := im.Redacted()
	if n != 2 {
		t.Errorf("%d values replaced, not 2", n)
	}
	var b bytes.Buffer
	if err := shown.Encode(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), secret) || !strings.Contains(b.String(), `"log.retention.ms":"7"`) {
		t.Errorf("encoded as %q", b.String())
	}
	if _, err := Decode(&b); err != nil {
		t.Errorf("a redacted image cannot be read: %v", err)
	}
	if im.Config(ResourceBroker, "1")["sasl.jaas.config"] != secret {
		t.Error("the image itself was changed")
	}
	if same, n := Empty().Redacted(); n != 0 || same != Empty() {
		t.Error("an image without secrets is not itself")
	}
}
