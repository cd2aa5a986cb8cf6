package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Flags are the options that every command of every tool has.
type Flags struct {
	Bootstrap []string
	Profile   string
	Config    string   // a node's config file, for its address
	Settings  []string // -X key=value
	Timeout   time.Duration
	Color     string
	Quiet     bool
	Verbose   bool
}

// register adds the options to the root command.
func (f *Flags) register(root *cobra.Command) {
	fs := root.PersistentFlags()
	fs.StringSliceVarP(&f.Bootstrap, "bootstrap", "b", nil, "brokers to connect to first, `HOST:PORT,...` (default: the profile, CHRONIK_BOOTSTRAP, localhost:9092)")
	fs.StringVar(&f.Profile, "profile", "", "use this profile of profiles.toml")
	fs.StringVar(&f.Config, "config", "", "take the address from a node's config `file` (node1.toml)")
	fs.StringArrayVarP(&f.Settings, "X", "X", nil, "client setting `key=value`, in librdkafka's names (sasl.username=...)")
	fs.DurationVar(&f.Timeout, "timeout", 10*time.Second, "give up when the cluster has not answered within this time")
	fs.StringVar(&f.Color, "color", "auto", "`when` to use colour: auto, always or never")
	fs.BoolVarP(&f.Quiet, "quiet", "q", false, "no hints and no progress on standard error")
	fs.BoolVarP(&f.Verbose, "verbose", "v", false, "say on standard error what is being done")
}

// normalizeFlag accepts Kafka's spellings of our flags and underscores for dashes.
func normalizeFlag(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	name = strings.ReplaceAll(name, "_", "-")
	switch name {
	case "bootstrap-server", "bootstrap-servers", "brokers":
		name = "bootstrap"
	}
	return pflag.NormalizedName(name)
}

// FlagError says of a flag's value what it has to be, in place of what the parser of the type says. Other errors stay as they are.
func FlagError(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	f := invalid.GetFlag()
	name := "--" + f.Name
	if f.Shorthand != "" && f.Shorthand != f.Name {
		name = "-" + f.Shorthand + ", " + name
	}
	what := ""
	var number *strconv.NumError
	switch kind := strings.TrimSuffix(f.Value.Type(), "Slice"); {
	case errors.As(err, &number) && errors.Is(number.Err, strconv.ErrRange):
		what = "is out of range"
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		what = "is no whole number"
	case strings.HasPrefix(kind, "float"):
		what = "is no number"
	case kind == "bool":
		what = "is neither true nor false"
	case kind == "duration":
		what = "is no duration: a number with its unit, such as 500ms, 10s or 2m"
	default:
		return err
	}
	return fmt.Errorf("%s: %q %s", name, invalid.GetValue(), what)
}
