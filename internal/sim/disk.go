package sim

import (
	"github.com/chronik-io/chronik/internal/metalog"
)

// commit is one unit of writing. A torn one is never here: recovery cuts it.
type commit struct {
	batch   int64
	frames  []metalog.Frame
	mark    int64
	damaged bool // cannot be read at the next start
	cached  bool // survived a process crash in the page cache, and is not on the disk
	own     bool // holds entries that the node wrote as leader
}

func (c *commit) seal() bool { return len(c.frames) == 0 }

// disk is the metadata directory of one member. Commits up to synced are on it, the one after is being written, later ones are in the
// memory of the process.
type disk struct {
	member  metalog.Member
	boot    uint64 // durable
	commits []commit
	synced  int
	first   int                  // commits before it were recycled
	images  []*metalog.ImageFile // newest first, two at most
	staged  *metalog.ImageFile   // in force once a Reset that names it is durable
}

// write adds a batch. Batches that wait are written as one commit, unless the seed says otherwise.
func (d *disk) write(batch int64, frames []metalog.Frame, group, own bool) {
	if n := len(d.commits); group && n > d.synced+1 {
		c := &d.commits[n-1]
		c.frames = append(c.frames, frames...)
		c.batch = batch
		c.own = c.own || own
		return
	}
	d.commits = append(d.commits, commit{batch: batch, frames: append([]metalog.Frame(nil), frames...), mark: -1, own: own})
}

// begin stamps the mark on the commit that is being written.
func (d *disk) begin(mark int64) {
	if d.synced < len(d.commits) && d.commits[d.synced].mark < 0 {
		d.commits[d.synced].mark = mark
	}
}

// sync ends the write of one commit.
func (d *disk) sync() (batch int64, ok bool) {
	if d.synced == len(d.commits) {
		return 0, false
	}
	d.synced++
	return d.commits[d.synced-1].batch, true
}

// cutPromises is what a log would lose that cuts its files when it truncates: all from the first entry that goes on.
func (d *disk) cutPromises(to int64) {
	for i := d.first; i < len(d.commits); i++ {
		for j := range d.commits[i].frames {
			f := &d.commits[i].frames[j]
			if f.Kind == metalog.FrameEntry && f.Entry.Offset >= to {
				d.commits[i].frames = d.commits[i].frames[:j:j]
				for k := i + 1; k < d.synced; k++ {
					d.commits[k].frames = nil
				}
				return
			}
		}
	}
}

// recover replays the disk as production does. It returns an error where the node would refuse to start.
func (d *disk) recover(founders []metalog.Member, keep int64, bugs diskBugs) (metalog.Recovered, error) {
	var meta, staged *metalog.ImageMeta
	if len(d.images) > 0 {
		meta = &d.images[0].Meta
	}
	if d.staged != nil {
		staged = &d.staged.Meta
	}
	r := metalog.NewRebuilder(founders, meta, staged, keep)
	mark := int64(0)
	for i := d.first; i < len(d.commits); i++ {
		c := &d.commits[i]
		if c.damaged && d.forgiven(i, bugs) {
			d.cutAt(i)
		}
		if c.damaged {
			n := uint64(1)
			for i+1 < len(d.commits) && d.commits[i+1].damaged {
				i++
				n++
			}
			r.Gap(n)
			continue
		}
		mark = max(mark, c.mark)
		for j := range c.frames {
			if _, err := r.Frame(&c.frames[j]); err != nil {
				return metalog.Recovered{}, err
			}
		}
		if i%8 == 0 {
			r.Trim(r.Known())
		}
	}
	rec, err := r.Finish(mark)
	if err == nil && r.StagedInForce() {
		d.promote()
	}
	return rec, err
}

// promote makes the staged image the newest.
func (d *disk) promote() {
	d.images = append([]*metalog.ImageFile{d.staged}, d.images...)
	d.images = d.images[:min(len(d.images), 2)]
	d.staged = nil
}

// cutAt is what a seeded bug does at damage that it takes for a torn write: the log ends there. Promises stay, so that only the
// entries are missing.
func (d *disk) cutAt(i int) {
	d.commits[i].damaged = false
	for ; i < len(d.commits); i++ {
		c := &d.commits[i]
		kept := make([]metalog.Frame, 0, len(c.frames))
		for _, f := range c.frames {
			if f.Kind == metalog.FramePromise || f.Kind == metalog.FramePeer {
				kept = append(kept, f)
			}
		}
		c.frames = kept
	}
}

// forgiven reports whether a seeded bug takes the damage at a commit for a torn write.
func (d *disk) forgiven(i int, bugs diskBugs) bool {
	if bugs&bugTruncateAtDamage != 0 || bugs&bugOwnEntriesForgiven != 0 && d.commits[i].own {
		return true
	}
	if bugs&bugTornDespiteSeal == 0 {
		return false
	}
	for k := i + 1; k < len(d.commits); k++ {
		if !d.commits[k].seal() {
			return false
		}
	}
	return true
}

// crash is what is left after the process dies, or with it the power. keep says whether the commit that was being written was whole.
func (d *disk) crash(power, keep bool, bugs diskBugs) {
	writing := d.synced < len(d.commits) && d.commits[d.synced].mark >= 0
	n := d.synced
	if writing && keep {
		n++
		d.commits[n-1].cached = !power
	}
	clear(d.commits[n:])
	d.commits = d.commits[:n]
	d.synced = n
	if !power {
		return
	}
	// Power loss: what was in the page cache only is gone. Recovery rewrites and syncs the last commit before it says what is there, so
	// nothing is left in the cache once a process has started; the seeded bug leaves it.
	for i := d.first; i < len(d.commits); i++ {
		if !d.commits[i].cached || i == n-1 && writing && keep {
			continue
		}
		if i == len(d.commits)-1 {
			d.commits = d.commits[:i]
			d.synced = i
			break
		}
		d.commits[i].damaged = true
	}
}

// rewrite is what a start does to the last commit it found.
func (d *disk) rewrite(bugs diskBugs) {
	if bugs&bugTailNotRewritten != 0 {
		return
	}
	for i := d.first; i < len(d.commits); i++ {
		d.commits[i].cached = false
	}
}

// clone is a copy of what is on the disk, as a backup has it.
func (d *disk) clone() *disk {
	c := *d
	c.commits = append([]commit(nil), d.commits[:d.synced]...)
	c.images = append([]*metalog.ImageFile(nil), d.images...)
	return &c
}
