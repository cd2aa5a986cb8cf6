package sim

import "github.com/chronik-io/chronik/internal/metadata"

// fullMeta is the metadata log under a data plane.
type fullMeta struct{}

func newFullMeta(*plane) *fullMeta                     { return nil }
func (f *fullMeta) append(int, []metadata.Event) error { return nil }
func (f *fullMeta) working(int) *metadata.Image        { return nil }
func (f *fullMeta) await(int, int64, func())           {}
func (f *fullMeta) pick() int                          { return -1 }
func (f *fullMeta) known(*machine) int                 { return -1 }
func (f *fullMeta) running(*machine) bool              { return true }
func (f *fullMeta) turn() bool                         { return false }
func (f *fullMeta) settle(*plane) bool                 { return false }
func (f *fullMeta) round()                             {}
