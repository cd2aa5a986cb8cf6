package sim

// one does one random event.
func (w *plane) one() {
	if w.full != nil && w.full.turn() {
		return
	}
	k, x := 0, w.rng.IntN(w.total)
	for x >= w.weights[k] {
		x -= w.weights[k]
		k++
	}
	switch {
	case k <= pvWrite || k == pvBreak || k == pvPing:
		w.streamEvent(k)
	case k == pvCall || k == pvDropCall:
		w.callEvent(k)
	case k >= pvRegister && k <= pvUnclean:
		w.controllerEvent(k)
	default:
		w.machineEvent(k, w.machines[w.rng.IntN(len(w.machines))])
	}
	w.sweep()
}

// streamEvent does something on a stream for which it is not idle, if there is one.
func (w *plane) streamEvent(k int) {
	if len(w.open) == 0 {
		return
	}
	at := w.rng.IntN(len(w.open))
	for i := range w.open {
		x := w.open[(at+i)%len(w.open)]
		ok := true
		switch k {
		case pvTake:
			ok = len(x.down) > 0
		case pvHear:
			ok = len(x.up) > 0
		case pvWrite:
			ok = x.building != nil
		case pvBuild, pvPing:
			ok = x.sending
		case pvAnswer:
			ok = x.receiving
		}
		if ok {
			w.onStream(k, x)
			return
		}
	}
}

func (w *plane) onStream(k int, x *stream) {
	switch k {
	case pvTake:
		w.take(x)
	case pvHear:
		w.hear(x)
	case pvAnswer:
		w.answer(x)
	case pvBuild:
		if w.weights[pvCut] == 0 || !w.cut[x.from.id][x.to.id] {
			w.build(x, w.rng.IntN(5)) // of 0 records too: a leader says what its high watermark is when it likes
		}
	case pvWrite:
		w.write(x)
	case pvPing:
		if x.receiving && x.building == nil {
			x.down = append(x.down, &pushFrame{ping: true})
		}
	case pvBreak:
		w.breakStream(x)
	}
}

func (w *plane) callEvent(k int) {
	if len(w.calls) == 0 {
		return
	}
	i := w.rng.IntN(len(w.calls))
	if w.rng.IntN(3) > 0 { // new ones are likelier than old ones
		i = len(w.calls) - 1 - w.rng.IntN(min(len(w.calls), 4))
	}
	if k == pvDropCall {
		w.calls[i] = w.calls[len(w.calls)-1]
		w.calls = w.calls[:len(w.calls)-1]
		return
	}
	w.deliverCall(i, w.rng.IntN(6) == 0)
}

// controllerEvent lets a controller do something, about a broker mostly.
func (w *plane) controllerEvent(k int) {
	at := w.pickController()
	if at < 0 {
		return
	}
	m := w.machines[w.rng.IntN(len(w.machines))]
	switch k {
	case pvRegister:
		if m.up && !m.registered {
			w.register(m, at)
		}
		w.createTopic(at)
	case pvServe:
		w.serve(m, at)
	case pvFence:
		if !m.up || w.rng.IntN(6) == 0 {
			w.fence(m, at)
		}
	case pvResign:
		w.resign(m, at)
	case pvRebalance:
		w.rebalance(at)
	case pvMin:
		w.changeMin(at)
	case pvUnclean:
		w.control(at, w.commandUnclean)
	}
}

func (w *plane) machineEvent(k int, m *machine) {
	switch k {
	case pvStart:
		if w.full != nil {
			w.full.w.start(w.full.w.nodes[m.id])
			return
		}
		w.startMachine(m)
		return
	case pvWipe:
		if w.aimed {
			m = w.measured()
		}
		if m != nil {
			w.wipeMachine(m)
		}
		return
	case pvLose:
		w.loseLast(m)
		return
	case pvCut:
		w.cutLink()
		return
	}
	if !m.up {
		return
	}
	switch k {
	case pvDial:
		w.dial(m, w.machines[w.rng.IntN(len(w.machines))])
	case pvSync:
		w.synced(m, m.wal.sync())
	case pvApply:
		if k := w.known(m); m.view < k {
			if w.rng.IntN(4) > 0 {
				k = m.view + 1
			}
			w.apply(m, k)
		}
	case pvCrash:
		w.stopMachine(m)
	case pvIsolate:
		m.isolated = !m.isolated
		if m.isolated {
			w.Some.Isolated++
		}
		w.trace("node %d isolated %v", m.id, m.isolated)
		w.reapply(m)
	default:
		w.replicaEvent(k, m)
	}
}

// measured is a machine that a proposal on its way would add to an ISR; nil for none.
func (w *plane) measured() *machine {
	for _, c := range w.calls {
		if c.answer {
			continue
		}
		for _, id := range c.change.ISR {
			if _, p := w.history.partition(w.history.head(), c.p); p != nil && !p.InISR(id) {
				return w.machines[id]
			}
		}
	}
	return nil
}

func (w *plane) replicaEvent(k int, m *machine) {
	p := w.rng.IntN(w.parts)
	if k == pvProduce || k == pvRetry {
		if r := w.anyLeader(p); r != nil {
			w.produce(r, k == pvRetry)
		}
		return
	}
	r := m.replicas[p]
	if r == nil {
		return
	}
	switch k {
	case pvTick:
		if l := w.anyLeader(p); l != nil {
			w.tick(l)
		}
	case pvMaterialise:
		w.materialise(r)
	case pvStartMoves:
		w.moveStart(r)
	}
}

// anyLeader is a replica that leads as far as it knows; one of those there are.
func (w *plane) anyLeader(p int) *preplica {
	at := w.rng.IntN(len(w.machines))
	for i := range w.machines {
		if r := w.machines[(at+i)%len(w.machines)].replicas[p]; r != nil && r.leads {
			return r
		}
	}
	return nil
}

func (w *plane) cutLink() {
	a, b := w.rng.IntN(len(w.machines)), w.rng.IntN(len(w.machines))
	if w.rng.IntN(2) == 0 {
		for i := range w.cut {
			clear(w.cut[i])
		}
		return
	}
	w.cut[a][b] = !w.cut[a][b]
}

// materialise writes a State: what is in segments, and the high watermark.
func (w *plane) materialise(r *preplica) {
	to := min(r.log.hw, r.log.End())
	if w.o.Bugs&bugMaterialiseAbove != 0 {
		to = r.log.End()
	}
	to = min(to, r.durable)
	if to < r.log.mat || r.log.hw > r.log.End() {
		return
	}
	w.Some.Materialised++
	w.op(r, walOp{kind: opState, off: to, hw: min(r.log.hw, r.durable)})
}

// moveStart deletes the oldest records below the high watermark, as DeleteRecords and retention do.
func (w *plane) moveStart(r *preplica) {
	hw := r.log.hw
	if !r.leads || hw <= r.log.start {
		return
	}
	to := r.log.start + 1 + w.rng.Int64N(hw-r.log.start)
	w.Some.StartsMoved++
	w.trace("node %d deletes below %d of partition %d", r.m.id, to, r.p)
	c := w.checks[r.p]
	c.deleted = max(c.deleted, to)
	w.op(r, walOp{kind: opStart, off: to})
}
