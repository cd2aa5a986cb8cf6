package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrUnknownSetting is a Kafka setting that is in none of the tables.
var ErrUnknownSetting = errors.New("unknown setting")

// SettingType is the type of a Kafka setting, by Kafka's names.
type SettingType uint8

// The types that occur.
const (
	TypeBoolean SettingType = iota + 1
	TypeString
	TypeInt
	TypeLong
	TypeDouble
	TypeList
	TypeShort
)

// Setting describes one of Kafka's settings.
type Setting struct {
	Name string
	Type SettingType
	// Default is nil for null.
	Default *string
	// ReadOnly settings of a broker need a restart; the others may be changed while it runs, through the metadata log.
	ReadOnly bool
	// Derived settings of a broker are shown to clients that look for them, but follow from other keys or are fixed: they cannot be set.
	Derived bool
	// Synonyms of a topic's setting are the broker settings that hold where the topic has none, most specific first; those of a broker's
	// setting are the settings that stand for the same in other units, itself included, most specific first.
	Synonyms []Synonym
	// Doc is a sentence for users.
	Doc string

	min, max float64  // of numbers
	oneOf    []string // of strings, and of each element of a list; nil for any
	check    func(value string) error
}

// Synonym is a broker setting that stands for another in its own unit: its value times Scale.
type Synonym struct {
	Name  string
	Scale int64
}

// Normalize checks a value and returns it as Kafka would print it.
func (s *Setting) Normalize(value string) (string, error) {
	v := strings.TrimSpace(value)
	if !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
		return "", s.invalid(value, "not text")
	}
	switch s.Type {
	case TypeBoolean:
		if v = strings.ToLower(v); v != "true" && v != "false" {
			return "", s.invalid(value, "Expected value to be either true or false")
		}
	case TypeShort, TypeInt, TypeLong:
		bits := map[SettingType]int{TypeShort: 16, TypeInt: 32, TypeLong: 64}[s.Type]
		n, err := strconv.ParseInt(v, 10, bits)
		if err != nil {
			return "", s.invalid(value, "Not a number of type "+s.Type.String())
		}
		if float64(n) < s.min || float64(n) > s.max {
			return "", s.invalid(value, s.bounds())
		}
		v = strconv.FormatInt(n, 10)
	case TypeDouble:
		f, err := strconv.ParseFloat(v, 64)
		if err != nil || math.IsNaN(f) || f < s.min || f > s.max {
			return "", s.invalid(value, s.bounds())
		}
	case TypeList:
		v = strings.Join(SplitList(v), ",")
		for _, e := range SplitList(v) {
			if s.oneOf != nil && !slices.Contains(s.oneOf, e) {
				return "", s.invalid(value, "Elements must be of "+strings.Join(s.oneOf, ", "))
			}
		}
	default:
		if s.oneOf != nil && !slices.Contains(s.oneOf, v) {
			return "", s.invalid(value, "String must be one of: "+strings.Join(s.oneOf, ", "))
		}
	}
	if s.check != nil {
		if err := s.check(v); err != nil {
			return "", s.invalid(value, err.Error())
		}
	}
	return v, nil
}

// SplitList returns the elements of a list value, without blanks around them; a list of nothing has none.
func SplitList(v string) []string {
	if strings.TrimSpace(v) == "" {
		return nil
	}
	elements := strings.Split(v, ",")
	for i := range elements {
		elements[i] = strings.TrimSpace(elements[i])
	}
	return elements
}

func (s *Setting) invalid(value, why string) error {
	const longest = 200
	if len(value) > longest {
		value = value[:longest] + "..."
	}
	return fmt.Errorf("%w: Invalid value %s for configuration %s: %s", ErrInvalidValue, value, s.Name, why)
}

func (s *Setting) bounds() string {
	switch {
	case s.Type == TypeDouble || s.max < float64(math.MaxInt32):
		return fmt.Sprintf("Value must be between %v and %v", s.min, s.max)
	default:
		return "Value must be at least " + strconv.FormatInt(int64(s.min), 10)
	}
}

func (t SettingType) String() string {
	return [...]string{"", "BOOLEAN", "STRING", "INT", "LONG", "DOUBLE", "LIST", "SHORT"}[t]
}

// The constructors of the tables. Numbers have a lower bound and no upper one but their type's.

func boolean(name string, value bool, doc string) Setting {
	return Setting{Name: name, Type: TypeBoolean, Default: text(strconv.FormatBool(value)), Doc: doc}
}

func number(name string, t SettingType, value, least int64, doc string) Setting {
	return Setting{Name: name, Type: t, Default: text(strconv.FormatInt(value, 10)), min: float64(least), max: math.Inf(1), Doc: doc}
}

func word(name, value string, oneOf []string, doc string) Setting {
	return Setting{Name: name, Type: TypeString, Default: text(value), oneOf: oneOf, Doc: doc}
}

func list(name, value string, oneOf []string, doc string) Setting {
	return Setting{Name: name, Type: TypeList, Default: text(value), oneOf: oneOf, Doc: doc}
}

func (s Setting) null() Setting                          { s.Default = nil; return s }
func (s Setting) atMost(v float64) Setting               { s.max = v; return s }
func (s Setting) checked(f func(v string) error) Setting { s.check = f; return s }
func (s Setting) readOnly() Setting                      { s.ReadOnly = true; return s }
func (s Setting) derived() Setting                       { s.ReadOnly, s.Derived = true, true; return s }
func (s Setting) synonyms(same ...Synonym) Setting       { s.Synonyms = same; return s }
func (s Setting) synonym(name string) Setting            { s.Synonyms = []Synonym{{name, 1}}; return s }

func text(s string) *string { return &s }
