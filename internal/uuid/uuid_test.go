package uuid

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	seen := make(map[UUID]bool)
	for range 2000 {
		u := New()
		if u.IsZero() || seen[u] {
			t.Fatalf("New returned a zero or repeated id %v", u)
		}
		seen[u] = true
		s := u.String()
		if s[0] == '-' || len(s) != 22 {
			t.Fatalf("String() = %q: want 22 characters that do not begin with a dash", s)
		}
		if got, err := Parse(s); err != nil || got != u {
			t.Fatalf("Parse(%q) = %v, %v", s, got, err)
		}
	}
}

func TestParse(t *testing.T) {
	want := UUID{0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x42, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0x00}
	tests := []struct {
		in string
		ok bool
	}{
		{want.String(), true},
		{"123e4567-e89b-42d3-a456-426614174000", true},
		{"", false},
		{"123e4567xe89b-42d3-a456-426614174000", false},
		{"123e4567-e89b-42d3-a456-42661417400g", false},
		{"AAAAAAAAAAAAAAAAAAAAA", false},   // 21 characters
		{"AAAAAAAAAAAAAAAAAAAAAB", false},  // bits beyond the 128th
		{"AAAAAAAAAAAAAAAAAAAAA=", false},  // padding
		{"AAAAAAAAAAAAAAAAAAAA\nA", false}, // what a lenient decoder would skip
		{"AAAAAAAAAAA+AAAAAAAAAA", false},  // the other alphabet
	}
	for _, tc := range tests {
		got, err := Parse(tc.in)
		if tc.ok && (err != nil || got != want) {
			t.Errorf("Parse(%q) = %v, %v; want %v", tc.in, got, err, want)
		}
		if !tc.ok && (!errors.Is(err, ErrSyntax) || !got.IsZero()) {
			t.Errorf("Parse(%q) = %v, %v; want ErrSyntax", tc.in, got, err)
		}
	}
}

func TestText(t *testing.T) {
	in := map[UUID]UUID{New(): New(), {}: New()}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out map[UUID]UUID
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	for k, v := range in {
		if out[k] != v {
			t.Errorf("JSON %s: key %v became %v, want %v", b, k, out[k], v)
		}
	}
	var u UUID
	if err := json.Unmarshal([]byte(`"nonsense"`), &u); !errors.Is(err, ErrSyntax) {
		t.Errorf("unmarshal of nonsense: %v", err)
	}
}
