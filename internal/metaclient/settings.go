package metaclient

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/chronik-io/chronik/internal/cli"
)

// settingDocs are the keys of -X, with librdkafka's names and meanings.
var settingDocs = map[string]string{
	"client.id":                           "the client id that brokers see",
	"security.protocol":                   "plaintext, ssl, sasl_plaintext or sasl_ssl",
	"sasl.mechanism":                      "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
	"sasl.username":                       "",
	"sasl.password":                       "the password, or file:PATH",
	"ssl.ca.location":                     "PEM file of the authorities to trust",
	"ssl.certificate.location":            "PEM file of the client's certificate",
	"ssl.key.location":                    "PEM file of the client's key",
	"enable.ssl.certificate.verification": "false trusts any broker",
	"socket.connection.setup.timeout.ms":  "how long one dial may take",
	"metadata.max.age.ms":                 "how often metadata is read again",
}

func checkSettings(settings map[string]string) error {
	known := slices.Sorted(maps.Keys(settingDocs))
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		if _, ok := settingDocs[k]; ok {
			continue
		}
		e := cli.Usagef("-X %s: unknown setting", k)
		if s := cli.Nearest(k, known); s != "" {
			return e.WithNext("-X %s=%s", s, settings[k])
		}
		return e.WithNext("known settings: %s", strings.Join(known, ", "))
	}
	_, err := settingOptions(settings)
	return err
}

// settingOptions turns settings into options of the client.
func settingOptions(s map[string]string) ([]kgo.Opt, error) {
	var opts []kgo.Opt
	if v := s["client.id"]; v != "" {
		opts = append(opts, kgo.ClientID(v))
	}
	for _, d := range []struct {
		key string
		opt func(time.Duration) kgo.Opt
	}{
		{"socket.connection.setup.timeout.ms", func(d time.Duration) kgo.Opt { return kgo.DialTimeout(d) }},
		{"metadata.max.age.ms", func(d time.Duration) kgo.Opt { return kgo.MetadataMaxAge(d) }},
	} {
		if v, ok := s[d.key]; ok {
			ms, err := strconv.Atoi(v)
			if err != nil || ms <= 0 || ms > 24*3600*1000 {
				return nil, cli.Usagef("-X %s=%s: must be milliseconds above 0", d.key, v)
			}
			opts = append(opts, d.opt(time.Duration(ms)*time.Millisecond))
		}
	}
	protocol := strings.ToLower(s["security.protocol"])
	if protocol == "" {
		protocol = impliedProtocol(s)
	}
	switch protocol {
	case "plaintext", "ssl", "sasl_plaintext", "sasl_ssl":
	default:
		return nil, cli.Usagef("-X security.protocol=%s: must be plaintext, ssl, sasl_plaintext or sasl_ssl", protocol)
	}
	if strings.HasSuffix(protocol, "ssl") {
		cfg, err := tlsConfig(s)
		if err != nil {
			return nil, cli.Usagef("%v", err)
		}
		opts = append(opts, kgo.DialTLSConfig(cfg))
	}
	if strings.HasPrefix(protocol, "sasl") {
		m, err := mechanism(s)
		if err != nil {
			return nil, cli.Usagef("%v", err)
		}
		opts = append(opts, kgo.SASL(m))
	}
	return opts, nil
}

// impliedProtocol is what the other settings only make sense with.
func impliedProtocol(s map[string]string) string {
	name := ""
	if s["sasl.username"] != "" || s["sasl.mechanism"] != "" {
		name = "sasl_"
	}
	for _, k := range []string{"ssl.ca.location", "ssl.certificate.location", "enable.ssl.certificate.verification"} {
		if s[k] != "" {
			return name + "ssl"
		}
	}
	return name + "plaintext"
}

func tlsConfig(s map[string]string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if v := s["enable.ssl.certificate.verification"]; v != "" {
		verify, err := strconv.ParseBool(v)
		if err != nil {
			return nil, fmt.Errorf("-X enable.ssl.certificate.verification=%s: must be true or false", v)
		}
		cfg.InsecureSkipVerify = !verify
	}
	if path := s["ssl.ca.location"]; path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read authorities: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read authorities %s: no certificate in it", path)
		}
	}
	cert, key := s["ssl.certificate.location"], s["ssl.key.location"]
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("load the client's certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

func mechanism(s map[string]string) (sasl.Mechanism, error) {
	user, pass := s["sasl.username"], s["sasl.password"]
	if path, ok := strings.CutPrefix(pass, "file:"); ok {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the password: %w", err)
		}
		pass = strings.TrimRight(string(b), "\r\n")
	}
	if user == "" {
		return nil, fmt.Errorf("-X sasl.username is missing")
	}
	switch m := strings.ToUpper(s["sasl.mechanism"]); m {
	case "", "PLAIN":
		return plain.Auth{User: user, Pass: pass}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: user, Pass: pass}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: user, Pass: pass}.AsSha512Mechanism(), nil
	default:
		return nil, fmt.Errorf("-X sasl.mechanism=%s: must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", m)
	}
}
