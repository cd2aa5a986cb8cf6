package top

import (
	"io"
	"time"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

// onceDoc is what --once -o json prints, kind TopSnapshot.
type onceDoc struct {
	At               time.Time          `json:"at"`
	Target           string             `json:"target"`
	Status           *metaclient.Status `json:"status"`
	RecordsPerSecond float64            `json:"recordsPerSecond"`
	Topics           []onceTopic        `json:"topics"`
	Metadata         *onceMetadata      `json:"metadata"`
	Trouble          string             `json:"trouble,omitempty"`
	OffsetsTrouble   string             `json:"offsetsTrouble,omitempty"`
}

type onceTopic struct {
	TopicGauge
	RecordsPerSecond float64 `json:"recordsPerSecond"`
}

type onceMetadata struct {
	Offset    int64       `json:"offset"`
	ImageHash string      `json:"imageHash"`
	Complete  bool        `json:"complete"`
	FoldError string      `json:"foldError,omitempty"`
	Newest    []onceEvent `json:"newest"`
}

type onceEvent struct {
	Offset int64  `json:"offset"`
	Epoch  int32  `json:"epoch"`
	Type   string `json:"type"`
	Entity string `json:"entity"`
	What   string `json:"what"`
}

// onceEvents is how many of the newest events a snapshot document holds.
const onceEvents = 20

func newOnceDoc(s *Snapshot) onceDoc {
	d := onceDoc{At: s.At.UTC(), Target: s.Target, Status: s.Status, RecordsPerSecond: s.Rate, Topics: []onceTopic{}, Trouble: s.Cluster, OffsetsTrouble: s.Offsets}
	for _, t := range s.Topics {
		d.Topics = append(d.Topics, onceTopic{t.TopicGauge, t.Rate})
	}
	if s.Image == nil {
		return d
	}
	d.Metadata = &onceMetadata{Offset: s.Image.Offset(), ImageHash: s.Image.Hash().String(), Complete: s.Whole, FoldError: s.FoldErr, Newest: []onceEvent{}}
	for _, e := range s.Events[max(0, len(s.Events)-onceEvents):] {
		d.Metadata.Newest = append(d.Metadata.Newest, onceEvent{e.Offset, e.Epoch, e.Type, e.Key, e.What})
	}
	return d
}

// printOnce writes one snapshot: as the screen would show it, without colour, or as a document.
func printOnce(app *cli.App, out *cli.Output, m *model) error {
	return app.Print(out, cli.View{Kind: "TopSnapshot", Doc: newOnceDoc(m.snap), Text: func(w io.Writer, _ cli.Style) error {
		_, err := io.WriteString(w, trimBlankEnd(m.render())+"\n")
		return err
	}})
}

// trimBlankEnd removes the blank lines at the end of a frame.
func trimBlankEnd(s string) string {
	end := len(s)
	for end > 0 && (s[end-1] == '\n' || s[end-1] == ' ') {
		end--
	}
	return s[:end]
}
