package metalog

import "testing"

// Every member remembers whom it has greeted, not only who sent it messages of the log: a disk that is put back to an older state is
// refused by all of them, before it can vote with those who never led.
func TestHandshakeRemembersTheProcess(t *testing.T) {
	c := NewCore(CoreConfig{Self: memberN(1), Boot: 1, Nonce: 1}, Recovered{Voters: []VoterSet{{Members: []Member{memberN(1), memberN(2), memberN(3)}}}})
	boot := func(n, nonce uint64) PeerBoot { return PeerBoot{memberN(2), n, nonce} }
	for _, step := range []struct {
		name  string
		boots []PeerBoot
		want  bool
	}{
		{"the first", []PeerBoot{boot(1, 11)}, true},
		{"the next", []PeerBoot{boot(1, 11), boot(2, 12)}, true},
		{"the same again", []PeerBoot{boot(1, 11), boot(2, 12)}, true},
		{"a copy of the first's disk", []PeerBoot{boot(1, 11), boot(2, 99)}, false},
		{"what was there before the copy", []PeerBoot{boot(1, 11), boot(2, 12), boot(3, 13)}, false},
	} {
		if got := c.Handshake(step.boots); got != step.want {
			t.Errorf("%s: heard is %t, want %t", step.name, got, step.want)
		}
	}
}
