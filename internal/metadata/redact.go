package metadata

import (
	"maps"
	"strings"
)

// RedactedValue stands where a secret was.
const RedactedValue = "***"

// IsSecret reports whether the values of a setting are secrets, by its name: what holds a key or a password is never shown.
func IsSecret(setting string) bool {
	for _, end := range []string{"password", "secret", "secrets", ".keystore.key", "jaas.config", "credentials"} {
		if strings.HasSuffix(setting, end) {
			return true
		}
	}
	return false
}

// Redacted is the image with the values of secret settings replaced, and how many were. With any replaced, its hash is another one.
func (im *Image) Redacted() (*Image, int) {
	n := 0
	b := NewBatch(im)
	for r, values := range im.Configs() {
		var shown map[string]string
		for name, v := range values {
			if !IsSecret(name) || v == RedactedValue {
				continue
			}
			if shown == nil {
				shown = maps.Clone(values)
			}
			shown[name] = RedactedValue
			n++
		}
		if shown != nil {
			b.setConfig(r, shown)
		}
	}
	if n == 0 {
		return im, 0
	}
	next, _ := b.Done()
	return next, n
}
