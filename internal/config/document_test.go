package config

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The document for users names every key and setting with its default; what is added to the tables and not to it fails here.
func TestDocumentHasEverySetting(t *testing.T) {
	b, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	row := func(cells ...string) {
		t.Helper()
		if want := "\n| " + strings.Join(cells, " | ") + " |"; !strings.Contains(text, want) {
			t.Errorf("docs/configuration.md has no row beginning with%s", want)
		}
	}
	code := func(s string) string {
		if s == "" {
			return "empty"
		}
		return "`" + s + "`"
	}
	for _, k := range keys {
		flag := "—"
		if k.flag != "" {
			flag = code("--" + k.flag)
		}
		row(code(k.name), code(fmt.Sprint(k.fallback)), flag, code(envName(k.name)), k.doc)
	}
	if b := fmt.Sprintf("%d,%03d,%03d", LargestBatch/1_000_000, LargestBatch/1000%1000, LargestBatch%1000); !strings.Contains(text, "; "+b+" bytes") {
		t.Errorf("docs/configuration.md does not name the largest batch, %s bytes", b)
	}
	for _, k := range peerKeys {
		if !strings.Contains(text, "`peers."+k+"`") {
			t.Errorf("docs/configuration.md does not name peers.%s", k)
		}
	}
	value := func(v *string) string {
		if v == nil {
			return "null"
		}
		return code(*v)
	}
	ofTopics := map[string]bool{}
	for _, s := range TopicSettings() {
		var synonyms []string
		for _, n := range s.Synonyms {
			ofTopics[n.Name] = true
			synonyms = append(synonyms, code(n.Name))
		}
		if synonyms == nil {
			synonyms = []string{"—"}
		}
		row(code(s.Name), value(s.Default), strings.Join(synonyms, ", "), s.Doc)
	}
	for _, s := range BrokerSettings() {
		changes := "restart"
		if !s.ReadOnly {
			changes = "at once"
		}
		switch {
		case ofTopics[s.Name]: // beside the topic's setting
		case s.Derived:
			row(code(s.Name), value(s.Default), s.Doc)
		default:
			row(code(s.Name), value(s.Default), changes, s.Doc)
		}
	}
}
