package node

import (
	"testing"
	"time"
)

// Two survivors that both begin an election end each other's: the second candidate's term deposes the first, which has just won. Which of
// them notices first is chance, so that the later one has to leave it to the other, for a while.
func TestAnElectionIsLeftToTheOtherSurvivor(t *testing.T) {
	dead := suspicion{Node: 1, Nonce: 7}
	var d doubts
	if d.askedBefore(dead, 3) {
		t.Error("nobody has asked yet")
	}
	d.ask(dead, 2)
	if !d.askedBefore(dead, 3) {
		t.Error("node 2 has asked, and is to begin")
	}
	if d.askedBefore(dead, 2) {
		t.Error("node 2 waits for itself")
	}
	if d.askedBefore(suspicion{Node: 1, Nonce: 8}, 3) {
		t.Error("the question was about another process")
	}
	d.ask(suspicion{Node: 1, Nonce: 8}, 3)
	if d.askedBefore(suspicion{Node: 1, Nonce: 8}, 2) {
		t.Error("node 2 waits for node 3, which waits for it")
	}
	w := &leaderWatch{}
	now := time.Now()
	if w.yield(false, 5, now) {
		t.Error("nobody else has begun")
	}
	if !w.yield(true, 5, now) || !w.yield(true, 5, now.Add(electPatience-1)) {
		t.Error("another one has begun")
	}
	if w.yield(true, 5, now.Add(electPatience)) {
		t.Error("it has had its time")
	}
	if !w.yield(true, 6, now.Add(electPatience)) {
		t.Error("the next leader's end is another matter")
	}
}

// A process that has slept finds everybody silent. Only what it has heard nothing of while it ran itself is silent.
func TestSilenceOfALeaderIsNotItsOwn(t *testing.T) {
	w := &leaderWatch{}
	now := time.Now()
	run := func(d time.Duration) {
		for end := now.Add(d); now.Before(end); {
			now = now.Add(watchEvery)
			w.look(now)
		}
	}
	run(time.Minute)
	if w.silent(now, leaderSilence-time.Millisecond) {
		t.Error("it was heard")
	}
	if !w.silent(now, leaderSilence) {
		t.Error("nothing was heard, and this process has run")
	}
	now = now.Add(3 * time.Second)
	w.look(now)
	if w.silent(now, 3*time.Second) {
		t.Error("this process has slept")
	}
	run(leaderSilence - watchEvery)
	if w.silent(now, 5*time.Second) {
		t.Error("it has not run for long enough since")
	}
	run(watchEvery)
	if !w.silent(now, 5*time.Second) {
		t.Error("it has run for long enough")
	}
}
