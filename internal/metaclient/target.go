package metaclient

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/chronik-io/chronik/internal/cli"
)

// DefaultBootstrap is where a node without a config listens.
const DefaultBootstrap = "localhost:9092"

// Target says which cluster is meant and how to talk to it.
type Target struct {
	Bootstrap []string
	Settings  map[string]string
	// Source says where the address came from, for error messages.
	Source string
}

// profiles is profiles.toml:
//
//	current = "dev"
//	[profiles.dev]
//	bootstrap = ["127.0.0.1:9092"]
//	[profiles.dev.settings]
//	"sasl.username" = "alice"
type profiles struct {
	Current  string             `toml:"current"`
	Profiles map[string]profile `toml:"profiles"`
}

type profile struct {
	Bootstrap []string          `toml:"bootstrap"`
	Settings  map[string]string `toml:"settings"`
}

// ResolveTarget finds the cluster: -b, then --config, then --profile or CHRONIK_PROFILE, then CHRONIK_BOOTSTRAP, then the
// current profile, then localhost:9092. Settings of -X win over the profile's.
func ResolveTarget(app *cli.App) (Target, error) {
	t := Target{Settings: map[string]string{}}
	p, name, err := chosenProfile(app)
	if err != nil {
		return t, err
	}
	maps.Copy(t.Settings, p.Settings)
	explicit := app.Profile != "" || app.Getenv("CHRONIK_PROFILE") != ""
	switch env := app.Getenv("CHRONIK_BOOTSTRAP"); {
	case len(app.Bootstrap) > 0:
		t.Bootstrap, t.Source = app.Bootstrap, "--bootstrap"
	case app.Config != "":
		addr, err := nodeAddress(app.Config)
		if err != nil {
			return t, err
		}
		t.Bootstrap, t.Source = []string{addr}, app.Config
	case explicit && len(p.Bootstrap) > 0:
		t.Bootstrap, t.Source = p.Bootstrap, "profile "+name
	case env != "":
		t.Bootstrap, t.Source = strings.Split(env, ","), "CHRONIK_BOOTSTRAP"
	case len(p.Bootstrap) > 0:
		t.Bootstrap, t.Source = p.Bootstrap, "profile "+name
	default:
		t.Bootstrap, t.Source = []string{DefaultBootstrap}, "the default"
	}
	for i, a := range t.Bootstrap {
		if t.Bootstrap[i], err = hostPort(a); err != nil {
			return t, cli.Usagef("%s: %v", t.Source, err)
		}
	}
	for _, kv := range app.Settings {
		k, v, ok := strings.Cut(kv, "=")
		if !ok {
			return t, cli.Usagef("-X %s: must be key=value", kv)
		}
		t.Settings[strings.TrimSpace(k)] = v
	}
	return t, checkSettings(t.Settings)
}

// hostPort adds Kafka's port where it is missing.
func hostPort(a string) (string, error) {
	a = strings.TrimSpace(a)
	if a == "" {
		return "", errors.New("empty address")
	}
	if strings.Contains(a, "/") {
		return "", fmt.Errorf("%q is no HOST:PORT", a)
	}
	if host, port, err := net.SplitHostPort(a); err == nil {
		if host == "" {
			host = "localhost"
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return "", fmt.Errorf("%q has no port from 1 to 65535", a)
		}
		return net.JoinHostPort(host, port), nil
	}
	if strings.Count(a, ":") > 1 && !strings.HasPrefix(a, "[") {
		return net.JoinHostPort(a, "9092"), nil
	}
	return net.JoinHostPort(strings.Trim(a, "[]"), "9092"), nil
}

func chosenProfile(app *cli.App) (profile, string, error) {
	name, source := app.Profile, "--profile"
	if name == "" {
		name, source = app.Getenv("CHRONIK_PROFILE"), "CHRONIK_PROFILE"
	}
	path := filepath.Join(app.ConfigDir, "profiles.toml")
	var all profiles
	md, err := toml.DecodeFile(path, &all)
	switch {
	case app.ConfigDir == "" || errors.Is(err, os.ErrNotExist):
		if name != "" {
			return profile{}, "", cli.Usagef("%s %s: there are no profiles (%s does not exist)", source, name, path)
		}
		return profile{}, "", nil
	case err != nil:
		return profile{}, "", cli.Usagef("read profiles: %v", err)
	}
	if unknown := md.Undecoded(); len(unknown) > 0 {
		return profile{}, "", cli.Usagef("%s: unknown key %s", path, unknown[0])
	}
	if name == "" {
		if name, source = all.Current, path; name == "" {
			return profile{}, "", nil
		}
	}
	p, ok := all.Profiles[name]
	if !ok {
		known := slices.Sorted(maps.Keys(all.Profiles))
		e := cli.Usagef("%s: there is no profile %q in %s", source, name, path)
		if s := cli.Nearest(name, known); s != "" {
			return p, "", e.WithNext("--profile %s", s)
		}
		return p, "", e.WithNext("known profiles: %s", strings.Join(known, ", "))
	}
	return p, name, nil
}

// nodeAddress reads a node's kafka address from its config file: what it advertises, else what it binds, else the default.
func nodeAddress(path string) (string, error) {
	var node struct {
		Advertise, Bind struct {
			Kafka string `toml:"kafka"`
		}
	}
	if _, err := toml.DecodeFile(path, &node); err != nil {
		return "", cli.Usagef("read the node's config: %v", err)
	}
	for _, a := range []string{node.Advertise.Kafka, node.Bind.Kafka} {
		host, port, err := net.SplitHostPort(a)
		switch {
		case a == "":
		case err != nil:
			return "", cli.Usagef("%s: kafka address %q: %v", path, a, err)
		case port == "0":
			return "", cli.Usagef("%s: kafka port 0 is chosen when the node starts", path).WithNext("-b HOST:PORT, as the node printed it")
		case host == "" || host == "0.0.0.0" || host == "::":
			return net.JoinHostPort("localhost", port), nil
		default:
			return a, nil
		}
	}
	return DefaultBootstrap, nil
}
