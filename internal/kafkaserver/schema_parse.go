package kafkaserver

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// walkKind is what the walker does for one field.
type walkKind uint8

const (
	walkSkip   walkKind = iota // n bytes of fixed size; neighbours are merged
	walkString                 // length and bytes
	walkBytes
	walkArray  // count and elements
	walkStruct // the fields of elem, after a presence byte when nullable
)

// walkOp is one step of a compiled schema.
type walkOp struct {
	kind     walkKind
	nullable bool
	n        int         // walkSkip: bytes
	elem     *walkFields // walkArray, walkStruct
}

// walkFields is a struct of one version: the same steps for every value of it.
type walkFields struct {
	ops  []walkOp
	tags map[uint32]walkOp // known tagged fields
	flex bool              // compact lengths
	bare bool              // an array's elements of a plain type: no tags follow each
	cost int               // memory one decoded value takes, its strings and arrays not counted
}

// compileSchema compiles the schema of a key for one version. It is called while the package initialises, for served versions only, so
// an error in a schema stops every test.
func compileSchema(key, version int16) (*walkFields, error) {
	text, ok := requestSchemas[key]
	if !ok {
		return nil, fmt.Errorf("compile schema: API key %d has none", key)
	}
	req := requestForKey(key)
	if req == nil {
		return nil, fmt.Errorf("compile schema: API key %d unknown", key)
	}
	req.SetVersion(version)
	p := schemaParser{s: text, version: version, flex: req.IsFlexible()}
	f, err := p.fields(0)
	if err != nil {
		return nil, fmt.Errorf("compile schema of API key %d: %w", key, err)
	}
	return f, nil
}

// schemaParser reads the notation of requestSchemas for one version.
type schemaParser struct {
	s       string
	version int16
	flex    bool
}

// fields reads fields up to end (0: the end of the text).
func (p *schemaParser) fields(end byte) (*walkFields, error) {
	f := &walkFields{flex: p.flex, tags: map[uint32]walkOp{}}
	for {
		p.s = strings.TrimLeftFunc(p.s, unicode.IsSpace)
		if p.s == "" || p.s[0] == end {
			if (p.s == "") != (end == 0) {
				return nil, fmt.Errorf("missing %q", end)
			}
			p.s = strings.TrimPrefix(p.s, string(rune(end)))
			return f, nil
		}
		_, rest, ok := strings.Cut(p.s, ":")
		if !ok {
			return nil, fmt.Errorf("no field name at %.20q", p.s)
		}
		p.s = rest
		op, cost, err := p.fieldType()
		if err != nil {
			return nil, err
		}
		in, err := p.gate()
		if err != nil {
			return nil, err
		}
		tag, tagged, err := p.tag()
		if err != nil {
			return nil, err
		}
		switch {
		case tagged:
			// kmsg reads a tagged field that it knows in every version, so it is checked in every version.
			f.cost += cost
			f.tags[tag] = op
		case in:
			f.cost += cost
			f.append(op)
		}
	}
}

// append adds a step; neighbouring fixed sizes become one.
func (f *walkFields) append(op walkOp) {
	if last := len(f.ops) - 1; op.kind == walkSkip && last >= 0 && f.ops[last].kind == walkSkip {
		f.ops[last].n += op.n
		return
	}
	f.ops = append(f.ops, op)
}

var fixedSizes = map[string]int{"b": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "uuid": 16}

// fieldType reads a type and says what memory a decoded value takes.
func (p *schemaParser) fieldType() (op walkOp, cost int, err error) {
	if op.nullable = strings.HasPrefix(p.s, "n"); op.nullable {
		p.s = p.s[1:]
	}
	if p.s == "" {
		return op, 0, fmt.Errorf("no type")
	}
	switch p.s[0] {
	case '[':
		p.s = p.s[1:]
		op.kind = walkArray
		op.elem, err = p.element()
		return op, 24, err
	case '{':
		p.s = p.s[1:]
		op.kind = walkStruct
		op.elem, err = p.fields('}')
		if err == nil {
			cost = op.elem.cost
		}
		return op, cost, err
	}
	end := strings.IndexFunc(p.s, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if end < 0 {
		end = len(p.s)
	}
	name := p.s[:end]
	p.s = p.s[end:]
	switch name {
	case "s":
		op.kind = walkString
		return op, 24, nil
	case "by":
		op.kind = walkBytes
		return op, 24, nil
	}
	n, ok := fixedSizes[name]
	if !ok {
		return op, 0, fmt.Errorf("unknown type %q", name)
	}
	op.n = n
	return op, max(n, 8), nil
}

// element reads what an array holds: one plain type, or the fields of a struct.
func (p *schemaParser) element() (*walkFields, error) {
	if end := strings.IndexAny(p.s, "]:"); end >= 0 && p.s[end] == ']' {
		op, cost, err := p.fieldType()
		if err != nil {
			return nil, err
		}
		p.s = strings.TrimPrefix(p.s, "]")
		return &walkFields{ops: []walkOp{op}, flex: p.flex, bare: true, cost: cost}, nil
	}
	f, err := p.fields(']')
	if err == nil {
		f.cost += 8 // kmsg's place for unknown tags
	}
	return f, err
}

// gate reads "@from+" or "@from-to" and reports whether the version is in.
func (p *schemaParser) gate() (bool, error) {
	if !strings.HasPrefix(p.s, "@") {
		return true, nil
	}
	p.s = p.s[1:]
	from, err := p.number()
	if err != nil {
		return false, err
	}
	if strings.HasPrefix(p.s, "+") {
		p.s = p.s[1:]
		return int(p.version) >= from, nil
	}
	if !strings.HasPrefix(p.s, "-") {
		return false, fmt.Errorf("versions neither + nor - at %.20q", p.s)
	}
	p.s = p.s[1:]
	to, err := p.number()
	return int(p.version) >= from && int(p.version) <= to, err
}

// tag reads "%tag".
func (p *schemaParser) tag() (uint32, bool, error) {
	if !strings.HasPrefix(p.s, "%") {
		return 0, false, nil
	}
	p.s = p.s[1:]
	n, err := p.number()
	return uint32(n), true, err
}

func (p *schemaParser) number() (int, error) {
	end := 0
	for end < len(p.s) && p.s[end] >= '0' && p.s[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(p.s[:end])
	p.s = p.s[end:]
	return n, err
}
