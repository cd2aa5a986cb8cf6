package node

import (
	"os"
	"strings"
	"testing"
)

// The document for operators names every metric.
func TestDocumentListsTheMetrics(t *testing.T) {
	b, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"ready", "build_info", "requests_total", "disk_free_bytes", "sync_seconds"}
	for _, r := range (&Node{}).readings() {
		names = append(names, r.name)
	}
	for _, name := range names {
		if !strings.Contains(string(b), "`"+metricPrefix+name+"`") {
			t.Errorf("docs/operations.md does not name %s%s", metricPrefix, name)
		}
	}
}
